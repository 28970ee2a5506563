"""A scripted editor: a real client over stdio, with its buffers, as tests see it."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.protocol import default_converter
from pytest_lsp import LanguageClient
from pytest_lsp.client import DEFAULT_CLIENT_FEATURES, register_lsp_features

from patience import PATIENCE

SERVE = (sys.executable, "-m", "gradtracer_server", "serve")
REFRESHES = (
    types.WORKSPACE_DIAGNOSTIC_REFRESH,
    types.WORKSPACE_INLAY_HINT_REFRESH,
    types.WORKSPACE_CODE_LENS_REFRESH,
    types.WORKSPACE_TEXT_DOCUMENT_CONTENT_REFRESH,
)


def capabilities(
    *without: str,
    encodings: list[types.PositionEncodingKind] | None = None,
    pulls: bool = False,
) -> types.ClientCapabilities:
    """A client that can do all we ask for, but for the abilities named.

    `pulls`: it asks about the diagnostics of documents, and is sent none of them.
    """

    def can(name: str) -> bool:
        return name not in without

    return types.ClientCapabilities(
        general=types.GeneralClientCapabilities(position_encodings=encodings),
        text_document=types.TextDocumentClientCapabilities(
            hover=types.HoverClientCapabilities(
                content_format=[types.MarkupKind.Markdown, types.MarkupKind.PlainText]
                if can("markdown_hover")
                else [types.MarkupKind.PlainText]
            ),
            publish_diagnostics=types.PublishDiagnosticsClientCapabilities(
                related_information=can("diagnostic_related"),
                data_support=can("diagnostic_data"),
                version_support=True,
                code_description_support=can("code_description"),
                tag_support=types.ClientDiagnosticsTagOptions([types.DiagnosticTag.Unnecessary])
                if can("diagnostic_tags")
                else None,
            ),
            diagnostic=types.DiagnosticClientCapabilities()
            if pulls and can("pull_diagnostics")
            else None,
            code_action=types.CodeActionClientCapabilities(
                code_action_literal_support=types.ClientCodeActionLiteralOptions(
                    code_action_kind=types.ClientCodeActionKindOptions(
                        value_set=[types.CodeActionKind.QuickFix]
                    )
                )
                if can("code_action_literals")
                else None,
                is_preferred_support=can("code_action_preferred"),
                disabled_support=can("code_action_disabled"),
                data_support=can("code_action_data"),
                resolve_support=types.ClientCodeActionResolveOptions(properties=["edit"])
                if can("code_action_resolve")
                else None,
            ),
        ),
        workspace=types.WorkspaceClientCapabilities(
            configuration=can("configuration"),
            diagnostics=types.DiagnosticWorkspaceClientCapabilities(
                refresh_support=can("refresh_diagnostics")
            ),
            inlay_hint=types.InlayHintWorkspaceClientCapabilities(
                refresh_support=can("refresh_hints")
            ),
            code_lens=types.CodeLensWorkspaceClientCapabilities(
                refresh_support=can("refresh_lenses")
            ),
            workspace_folders=True,
            workspace_edit=types.WorkspaceEditClientCapabilities(
                document_changes=can("document_changes"),
                change_annotation_support=types.ChangeAnnotationsSupportOptions()
                if can("change_annotations")
                else None,
            ),
            apply_edit=can("applies_edits"),
            text_document_content=types.TextDocumentContentClientCapabilities()
            if can("text_document_content")
            else None,
            did_change_watched_files=types.DidChangeWatchedFilesClientCapabilities(
                dynamic_registration=can("watches_files")
            ),
        ),
        notebook_document=types.NotebookDocumentClientCapabilities(
            synchronization=types.NotebookDocumentSyncClientCapabilities()
        )
        if can("notebooks")
        else None,
        window=types.WindowClientCapabilities(
            work_done_progress=can("work_done_progress"),
            show_document=types.ShowDocumentClientCapabilities(support=can("show_document")),
        ),
        experimental={"gradtracer": {"status": can("status")}},
    )


ABILITIES = (
    "markdown_hover",
    "notebooks",
    "diagnostic_related",
    "diagnostic_data",
    "diagnostic_tags",
    "applies_edits",
    "text_document_content",
    "show_document",
    "status",
    "refresh_hints",
    "refresh_lenses",
    "code_description",
    "code_action_literals",
    "code_action_preferred",
    "code_action_disabled",
    "code_action_data",
    "code_action_resolve",
    "configuration",
    "document_changes",
    "change_annotations",
    "watches_files",
    "work_done_progress",
)


@dataclass(frozen=True)
class Cell:
    """A cell of a notebook, named as VS Code names it; stands for a path in the editor."""

    notebook: Path
    name: str

    def as_uri(self) -> str:
        return f"{self.notebook.as_uri().replace('file:', 'vscode-notebook-cell:')}#{self.name}"


class Editor:
    """One editor with one server."""

    def __init__(self) -> None:
        self.published: list[types.PublishDiagnosticsParams] = []
        self.refreshes: Counter[str] = Counter()
        """How often the server asked to be asked again, by method."""
        self.registered: list[types.Registration] = []
        self.texts: dict[str, str] = {}
        self.versions: dict[str, int] = {}
        self.notebooks: dict[str, Path] = {}
        """The notebook of each cell that is open."""
        features = dict(DEFAULT_CLIENT_FEATURES)
        features[types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS] = lambda params: self.published.append(
            params
        )
        features[types.CLIENT_REGISTER_CAPABILITY] = lambda params: self.registered.extend(
            params.registrations
        )
        self.applied: list[types.ApplyWorkspaceEditParams] = []
        """Edits that the server made, in the buffers too."""
        self.statuses: list[dict[str, Any]] = []
        """What the server said of how things stand."""
        features[types.WORKSPACE_APPLY_EDIT] = self._made
        features["gradtracer/status"] = self._stands
        for method in REFRESHES:
            features[method] = self._counted(method)
        self.client = LanguageClient(converter_factory=default_converter)
        register_lsp_features(self.client, features)
        self.answer: types.InitializeResult | None = None

    @property
    def _made(self) -> Callable[..., types.ApplyWorkspaceEditResult]:
        def made(params: types.ApplyWorkspaceEditParams) -> types.ApplyWorkspaceEditResult:
            self.applied.append(params)
            self.apply(params.edit)
            return types.ApplyWorkspaceEditResult(applied=True)

        return made

    @property
    def _stands(self) -> Callable[..., None]:
        def stands(params: Any) -> None:
            self.statuses.append(params._asdict() if hasattr(params, "_asdict") else params)

        return stands

    async def command(self, name: str, *arguments: object) -> Any:
        """Call a command of the server."""
        return await self.client.workspace_execute_command_async(
            types.ExecuteCommandParams(name, list(arguments))
        )

    def _counted(self, method: str) -> Callable[..., None]:
        def count(*_: object) -> None:
            self.refreshes[method] += 1

        return count

    @property
    def asked_again(self) -> int:
        """How often the server said that the answers about diagnostics have changed."""
        return self.refreshes[types.WORKSPACE_DIAGNOSTIC_REFRESH]

    async def start(
        self,
        root: Path | None,
        client: types.ClientCapabilities | None = None,
        *,
        options: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
    ) -> None:
        """Start a server and say hello."""
        if settings is not None:
            self.client.set_configuration({"gradtracer": settings})
        await self.client.start_io(*SERVE)
        folders = [types.WorkspaceFolder(uri=root.as_uri(), name=root.name)] if root else None
        self.answer = await self.client.initialize_session(
            types.InitializeParams(
                capabilities=client or capabilities(),
                workspace_folders=folders,
                root_uri=root.as_uri() if root else None,
                initialization_options={"poll_seconds": 0.1, **(options or {})},
            )
        )

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The server."""
        assert self.client._server is not None
        return self.client._server

    async def quit(self) -> int:
        """Say goodbye; the server's exit status."""
        if self.process.returncode is None:
            await self.client.shutdown_session()
        await self.client.stop()
        status = self.process.returncode
        assert status is not None
        return status

    def open(self, path: Path | Cell, language: str = "python") -> None:
        """Show a file."""
        uri = path.as_uri()
        self.texts[uri] = path.read_bytes().decode("utf-8")
        self.versions[uri] = 1
        self.client.text_document_did_open(
            types.DidOpenTextDocumentParams(
                types.TextDocumentItem(uri, language, 1, self.texts[uri])
            )
        )

    def open_notebook(self, cells: dict[Cell, str]) -> None:
        """Show a notebook with these cells."""
        documents = [
            types.TextDocumentItem(cell.as_uri(), "python", 1, text) for cell, text in cells.items()
        ]
        for cell, document in zip(cells, documents, strict=True):
            self.texts[document.uri], self.versions[document.uri] = document.text, 1
            self.notebooks[document.uri] = cell.notebook
        (notebook,) = {cell.notebook for cell in cells}
        listed = [types.NotebookCell(types.NotebookCellKind.Code, each.uri) for each in documents]
        self.client.notebook_document_did_open(
            types.DidOpenNotebookDocumentParams(
                types.NotebookDocument(notebook.as_uri(), "jupyter-notebook", 1, listed), documents
            )
        )

    def change_cells(self, change: types.NotebookDocumentCellChanges, notebook: Path) -> None:
        """Tell of a change of a notebook's cells."""
        self.client.notebook_document_did_change(
            types.DidChangeNotebookDocumentParams(
                types.VersionedNotebookDocumentIdentifier(2, notebook.as_uri()),
                types.NotebookDocumentChangeEvent(cells=change),
            )
        )

    def close(self, path: Path | Cell) -> None:
        """Close a file without saving it."""
        uri = path.as_uri()
        del self.texts[uri], self.versions[uri]
        self.client.text_document_did_close(
            types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(uri))
        )

    def save(self, path: Path | Cell) -> None:
        """Write the buffer to its file."""
        uri = path.as_uri()
        path.write_bytes(self.texts[uri].encode("utf-8"))
        self.client.text_document_did_save(
            types.DidSaveTextDocumentParams(types.TextDocumentIdentifier(uri))
        )

    def replace(self, path: Path | Cell, old: str, new: str) -> None:
        """Edit the first occurrence of a text, as typing does: one range, one change."""
        uri = path.as_uri()
        text = self.texts[uri]
        start = text.index(old)
        self.texts[uri] = text[:start] + new + text[start + len(old) :]
        self.versions[uri] += 1
        place = types.Range(self._place(text, start), self._place(text, start + len(old)))
        self._changed(uri, types.TextDocumentContentChangePartial(range=place, text=new))

    def _changed(self, uri: str, change: types.TextDocumentContentChangeEvent) -> None:
        document = types.VersionedTextDocumentIdentifier(self.versions[uri], uri)
        if uri in self.notebooks:
            edited = types.NotebookDocumentCellContentChanges(document, [change])
            changes = types.NotebookDocumentCellChanges(text_content=[edited])
            self.change_cells(changes, self.notebooks[uri])
        else:
            self.client.text_document_did_change(
                types.DidChangeTextDocumentParams(document, [change])
            )

    def configure(self, settings: dict[str, Any]) -> None:
        """Change the user's settings, and push them."""
        self.client.workspace_did_change_configuration(
            types.DidChangeConfigurationParams(settings={"gradtracer": settings})
        )

    def shown(self, path: Path | Cell) -> list[types.Diagnostic]:
        """What the file shows now."""
        told = [each for each in self.published if each.uri == path.as_uri()]
        return list(told[-1].diagnostics) if told else []

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds; fail after the deadline."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.returncode is None, "the server has ended"
            assert time.monotonic() < end, f"not within {PATIENCE} s: {self.published[-2:]}"
            await asyncio.sleep(0.005)

    async def refreshed(self, method: str, before: int) -> None:
        """Wait until the server has asked to be asked again more often than `before`."""
        await self.until(lambda: self.refreshes[method] > before)

    async def codes(self, path: Path | Cell, *codes: str) -> list[types.Diagnostic]:
        """Wait until a file shows exactly the diagnoses of these types."""
        await self.until(lambda: sorted(str(d.code) for d in self.shown(path)) == sorted(codes))
        return self.shown(path)

    async def hover(self, path: Path | Cell, text: str, offset: int = 0) -> types.Hover | None:
        """Hover over the first occurrence of a text."""
        place = self.place_of(path, text, offset)
        return await self.client.text_document_hover_async(
            types.HoverParams(types.TextDocumentIdentifier(path.as_uri()), place)
        )

    async def hover_text(self, path: Path | Cell, text: str) -> str:
        """The words of a hover, with one space for several; empty for none."""
        found = await self.hover(path, text)
        if found is None:
            return ""
        assert isinstance(found.contents, types.MarkupContent)
        return re.sub(" +", " ", found.contents.value)

    async def hover_until(self, path: Path | Cell, text: str, wanted: str) -> str:
        """Hover until it says what is wanted; fail after the deadline."""
        end = time.monotonic() + PATIENCE
        while wanted not in (said := await self.hover_text(path, text)):
            assert time.monotonic() < end, f"not within {PATIENCE} s: {said}"
            await asyncio.sleep(0.02)
        return said

    async def actions(
        self,
        path: Path | Cell,
        diagnostics: list[types.Diagnostic],
        *,
        where: types.Range | None = None,
        only: list[types.CodeActionKind | str] | None = None,
    ) -> list[types.CodeAction]:
        """The code actions for some diagnostics."""
        anywhere = types.Range(types.Position(0, 0), types.Position(0, 0))
        found = await self.client.text_document_code_action_async(
            types.CodeActionParams(
                types.TextDocumentIdentifier(path.as_uri()),
                where or (diagnostics[0].range if diagnostics else anywhere),
                types.CodeActionContext(diagnostics, only),
            )
        )
        actions = [action for action in found or [] if isinstance(action, types.CodeAction)]
        assert len(actions) == len(found or [])
        return actions

    def resolve(self, action: types.CodeAction) -> Awaitable[types.CodeAction]:
        """Ask for the edit of an action."""
        return self.client.code_action_resolve_async(action)

    def apply(self, edit: types.WorkspaceEdit | None) -> None:
        """Make an edit in the buffers and tell the server."""
        assert edit is not None
        changes: dict[str, Any] = dict(edit.changes or {})
        for change in edit.document_changes or []:
            assert isinstance(change, types.TextDocumentEdit)
            uri = change.text_document.uri
            assert change.text_document.version == self.versions.get(uri)
            changes[uri] = [
                each
                for each in change.edits
                if isinstance(each, types.TextEdit | types.AnnotatedTextEdit)
            ]
        for uri, edits in changes.items():
            self._apply(uri, list(edits))

    def _apply(self, uri: str, edits: list[types.TextEdit]) -> None:
        for edit in sorted(edits, key=lambda each: -self._offset(uri, each.range.start)):
            start, end = (self._offset(uri, p) for p in (edit.range.start, edit.range.end))
            text = self.texts[uri]
            self.texts[uri] = text[:start] + edit.new_text + text[end:]
        self.versions[uri] += 1
        self._changed(uri, types.TextDocumentContentChangeWholeDocument(self.texts[uri]))

    def place_of(self, path: Path | Cell, text: str, offset: int = 0) -> types.Position:
        """Where a text stands in a file, in the negotiated units."""
        content = self.texts.get(path.as_uri()) or path.read_text(encoding="utf-8")
        return self._place(content, content.index(text) + offset)

    def at(self, path: Path | Cell, place: types.Range) -> str:
        """The text of a range."""
        uri = path.as_uri()
        text = self.texts[uri]
        return text[self._offset(uri, place.start) : self._offset(uri, place.end)]

    def _units(self, text: str) -> int:
        assert self.answer is not None
        encoding = self.answer.capabilities.position_encoding or "utf-16"
        if encoding == "utf-32":
            return len(text)
        if encoding == "utf-8":
            return len(text.encode("utf-8"))
        return len(text.encode("utf-16-le")) // 2

    def _place(self, text: str, offset: int) -> types.Position:
        before = text[:offset]
        line = before.count("\n")
        return types.Position(line, self._units(before[before.rfind("\n") + 1 :]))

    def _offset(self, uri: str, place: types.Position) -> int:
        lines = self.texts[uri].split("\n")
        start = sum(len(line) + 1 for line in lines[: place.line])
        line = lines[place.line]
        column = next(c for c in range(len(line) + 1) if self._units(line[:c]) == place.character)
        return start + column
