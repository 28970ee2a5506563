"""What GradTracer does, in a terminal: `make demo`.

Trains movielens_mf.py while a language server runs beside it, as it would under an editor. Draws
the server's progress, prints each diagnostic where the server puts it, and at the end the unified
diff of the first fix that the server proposes.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.syntax import Syntax

from gradtracer_server.source.edits import TextEdit, apply_edits, unified_diff
from gradtracer_server.source.index import Position, Range

SCRIPT = Path(__file__).with_name("movielens_mf.py").resolve()
ROOT = SCRIPT.parent.parent
CAPABILITIES = lsp.ClientCapabilities(
    general=lsp.GeneralClientCapabilities(position_encodings=[lsp.PositionEncodingKind.Utf32]),
    window=lsp.WindowClientCapabilities(work_done_progress=True),
    text_document=lsp.TextDocumentClientCapabilities(
        code_action=lsp.CodeActionClientCapabilities(
            data_support=True,
            resolve_support=lsp.ClientCodeActionResolveOptions(properties=["edit"]),
            code_action_literal_support=lsp.ClientCodeActionLiteralOptions(
                code_action_kind=lsp.ClientCodeActionKindOptions(value_set=[])
            ),
        )
    ),
)


class Editor(LanguageClient):
    """As much of an editor as a terminal needs."""

    def __init__(self, console: Console, bar: Progress) -> None:
        super().__init__("gradtracer-demo", "1")
        self.diagnostics: list[tuple[str, lsp.Diagnostic]] = []
        self.ended = asyncio.Event()
        self._console = console
        self._bar = bar
        self._task = bar.add_task("waiting for the training", total=100)
        self._said: set[str] = set()
        self._started = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        # pygls marks the function that it registers, which a bound method does not allow
        self.feature(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)(lambda params: self._publish(params))
        self.feature(lsp.WINDOW_WORK_DONE_PROGRESS_CREATE)(lambda _: None)
        self.feature(lsp.PROGRESS)(lambda params: self._progress(params))

    def _publish(self, params: lsp.PublishDiagnosticsParams) -> None:
        self.diagnostics = [(uri, d) for uri, d in self.diagnostics if uri != params.uri]
        for diagnostic in params.diagnostics:
            self.diagnostics.append((params.uri, diagnostic))
            if self._is_old(diagnostic) or str(diagnostic.data) in self._said:
                continue
            self._said.add(str(diagnostic.data))
            start = diagnostic.range.start
            place = (
                f"{path_of(params.uri).relative_to(ROOT)}:{start.line + 1}:{start.character + 1}"
            )
            self._console.print(f"[bold]{place}[/] [yellow]{diagnostic.code}[/]")
            self._console.print(diagnostic.message, highlight=False, markup=False)
            self._console.print()

    def _is_old(self, diagnostic: lsp.Diagnostic) -> bool:
        """Whether it comes from a run before this one; a run's id begins with its start."""
        return str(diagnostic.data["id"]).rpartition("@")[2] < self._started

    def _progress(self, params: lsp.ProgressParams) -> None:
        value = params.value
        kind = value["kind"] if isinstance(value, dict) else value.kind
        read = value.get if isinstance(value, dict) else lambda name: getattr(value, name, None)
        if kind == "end":
            self.ended.set()
        else:
            self._bar.update(
                self._task,
                description=read("message") or read("title") or "training",
                completed=read("percentage") or 0,
            )


async def main() -> int:
    console = Console()
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        editor = Editor(console, bar)
        await editor.start_io(sys.executable, "-m", "gradtracer_server", "serve")
        await editor.initialize_async(
            lsp.InitializeParams(
                capabilities=CAPABILITIES,
                root_uri=ROOT.as_uri(),
                workspace_folders=[lsp.WorkspaceFolder(uri=ROOT.as_uri(), name=ROOT.name)],
            )
        )
        editor.initialized(lsp.InitializedParams())
        console.print(f"a language server watches [bold]{ROOT}[/]; training {SCRIPT.name}\n")
        training = await asyncio.create_subprocess_exec(
            sys.executable, str(SCRIPT), *sys.argv[1:], stdout=asyncio.subprocess.PIPE
        )
        output, _ = await training.communicate()
        try:
            await asyncio.wait_for(editor.ended.wait(), timeout=30)
        except TimeoutError:
            console.print("the server did not see the training end")
    console.print("\n".join(output.decode().splitlines()[-3:]), highlight=False)
    if training.returncode:
        return training.returncode
    found = await propose(editor, console)
    await editor.shutdown_async(None)
    editor.exit(None)
    await editor.stop()
    return 0 if found else 1


async def propose(editor: Editor, console: Console) -> bool:
    """Print the diff of the first fix, and say whether there was one."""
    by_severity = sorted(editor.diagnostics, key=lambda found: int(found[1].severity or 4))
    for uri, diagnostic in by_severity:
        actions = await editor.text_document_code_action_async(
            lsp.CodeActionParams(
                text_document=lsp.TextDocumentIdentifier(uri=uri),
                range=diagnostic.range,
                context=lsp.CodeActionContext(diagnostics=[diagnostic]),
            )
        )
        for action in actions or []:
            if not isinstance(action, lsp.CodeAction) or action.disabled is not None:
                continue
            if action.edit is None:
                action = await editor.code_action_resolve_async(action)
            if action.edit is None:
                continue
            console.print(f"\nfirst proposed fix, for {diagnostic.code}: [bold]{action.title}[/]")
            patch = Syntax(diff_of(action.edit), "diff", background_color="default")
            # as it is, so that it can be copied
            console.print(patch, soft_wrap=True)
            return True
    console.print("no fix was proposed")
    return False


def diff_of(edit: lsp.WorkspaceEdit) -> str:
    """The edit as a patch against the files on disk."""
    changes = dict(edit.changes or {})
    for change in edit.document_changes or []:
        if isinstance(change, lsp.TextDocumentEdit):
            changes[change.text_document.uri] = change.edits
    patches: list[str] = []
    for uri, edits in changes.items():
        path = path_of(uri)
        before = path.read_text(encoding="utf-8")
        ours = [TextEdit(range_of(e.range), e.new_text) for e in edits]
        patches.append(unified_diff(path.relative_to(ROOT), before, apply_edits(before, ours)))
    return "".join(patches)


def range_of(r: lsp.Range) -> Range:
    return Range(Position(r.start.line, r.start.character), Position(r.end.line, r.end.character))


def path_of(uri: str) -> Path:
    return Path(unquote(urlsplit(uri).path))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
