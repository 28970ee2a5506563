"""Every fix at every site of code that nobody here wrote: does it parse, is the rest the same?

    python tests/bench/bench_fixes_parse.py [--per-file 4] [--packages recbole deepctr_torch]

Sites are all calls that build a table, a linear layer or an activation, in the model files of
RecBole 1.2.1, DeepCTR-Torch 0.3.0 and transformers; the optimizer and the step are those of the
package's own training loop, or, for transformers, of a user's script that trains the model.
`--per-file` bounds the sites of one file of transformers, whose models repeat each other; 0: all.
`parse`: Python's own parser reads every changed file. `same`: all bytes outside the edited spans
are as they were, compared span by span.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.util
import re
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gradtracer_schemas import Diagnosis, Evidence, FixOffer, SourceFrame, SourceSite
from gradtracer_server.fixes.proposal import FixContext, Frame
from gradtracer_server.fixes.registry import propose
from gradtracer_server.source.anchors import resolve
from gradtracer_server.source.edits import TextEdit, apply_edits
from gradtracer_server.source.index import SourceText

HOME = Path(__file__).resolve().parents[2] / "build" / "bench-fixes"
REQUIRED = ("recbole==1.2.1", "deepctr-torch==0.3.0")
TABLES = {"Embedding", "EmbeddingBag"}
LAYERS = {"Linear", "ReLU", "MLPLayers", "DNN", "TransformerEncoderLayer"}
MODELS = {
    "recbole": "model/**/*.py",
    "deepctr_torch": "**/*.py",
    "transformers": "models/*/modeling_*.py",
}
LOOPS = {
    "recbole": ("trainer/trainer.py", "optim.Adam(", "scaler.step(self.optimizer)"),
    "deepctr_torch": ("models/basemodel.py", "torch.optim.Adam(", "optim.step()"),
}
USERS_LOOP = """\
import torch, gradtracer

model = Model()
optimizer = torch.optim.Adam(
    model.parameters(),  # all
    lr=5e-5, weight_decay=1e-2,
)
run = gradtracer.watch(model, optimizer=optimizer)
for batch in loader:
    optimizer.zero_grad()
    model(**batch).loss.backward()
    optimizer.step()
"""
OFFERS: dict[str, dict[str, Any]] = {
    "clear-gradients": {},
    "apply-recipe": {"path": "gradtracer_recipe.json"},
    "clip-gradients": {"max_norm": 1.0},
    "enable-auto-fix": {},
    "insert-normalisation": {},
    "inverse-frequency-weights": {"power": 0.5},
    "log-q-correction": {},
    "raise-learning-rate": {"lr": 10.0},
    "reduce-embedding-dim": {"embedding_dim": 4},
    "reduce-learning-rate": {"lr": 1e-6},
    "register-modules": {"holder": "tables"},
    "reduce-weight-decay": {"weight_decay": 0.0},
    "set-weight-decay": {"weight_decay": 0.2},
    "train-longer": {"factor": 2},
    "replace-activation": {"to": "LeakyReLU"},
    "shrink-table": {"num_embeddings": 2},
    "sparse-gradients": {"optimizer": "Adam"},
    "suppress": {},
}


def packages(names: Iterable[str]) -> dict[str, Path]:
    """Where each package's source lies; those that are missing are installed beside it."""
    done = HOME / ".installed"
    if not done.is_file() or done.read_text(encoding="utf-8") != "\n".join(REQUIRED):
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", HOME]
        subprocess.run([*pip, *REQUIRED], check=True)
        done.write_text("\n".join(REQUIRED), encoding="utf-8")
    found = {name: HOME / name for name in names if (HOME / name).is_dir()}
    spec = importlib.util.find_spec("transformers") if "transformers" in names else None
    if spec is not None and spec.origin is not None:
        found["transformers"] = Path(spec.origin).parent
    return found


class Source:
    """A file with the frames of its calls."""

    def __init__(self, path: Path, text: str | None = None) -> None:
        self.path = path
        self.source = SourceText.parse(path.read_bytes().decode("utf-8") if text is None else text)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.tree = ast.parse(self.source.text)
        self.lines = self.source.text.splitlines(keepends=True)

    def calls(self) -> Iterator[tuple[str, SourceFrame, str]]:
        """Name of what is called, frame, and the attribute that the result is assigned to."""
        yield from self._in(self.tree, [], "<module>", in_function=False)

    def _in(
        self, node: ast.AST, names: list[str], scope: str, *, in_function: bool
    ) -> Iterator[tuple[str, SourceFrame, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = [*names, "<locals>", child.name] if in_function else [*names, child.name]
                own = isinstance(child, ast.ClassDef)
                yield from self._in(child, inner, ".".join(inner), in_function=not own)
            elif isinstance(child, ast.stmt):
                if not getattr(child, "body", None):
                    yield from self._calls_of(child, scope)
                yield from self._in(child, names, scope, in_function=in_function)
            elif isinstance(child, ast.excepthandler | ast.match_case):
                yield from self._in(child, names, scope, in_function=in_function)

    def _calls_of(self, statement: ast.stmt, scope: str) -> Iterator[tuple[str, SourceFrame, str]]:
        target = statement.targets[0] if isinstance(statement, ast.Assign) else None
        attribute = target.attr if isinstance(target, ast.Attribute) else ""
        for node in ast.walk(statement):
            if isinstance(node, ast.Call):
                function = node.func
                name = getattr(function, "attr", None) or getattr(function, "id", "")
                yield name, self._frame(statement, node, scope), attribute

    def _frame(self, statement: ast.stmt, call: ast.Call, scope: str) -> SourceFrame:
        text, expression = self._text(statement), self._text(call)
        return SourceFrame(
            file=str(self.path),
            start_line=statement.lineno,
            start_column=statement.col_offset,
            end_line=statement.end_lineno or 0,
            end_column=statement.end_col_offset or 0,
            qualname=scope,
            text=text,
            digest=hashlib.sha256(text.encode()).hexdigest()[:16],
            expression="" if expression == text else expression,
        )

    def _text(self, node: ast.stmt | ast.expr) -> str:
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        lines = [line.encode() for line in self.lines[first : last + 1]]
        lines[-1] = lines[-1][: node.end_col_offset]
        lines[0] = lines[0][node.col_offset :]
        return b"".join(lines).decode()


class Tally:
    """What became of one fix in one package."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.failures: list[str] = []


def loop_of(package: str, root: Path, files: dict[str, Source]) -> dict[str, SourceSite]:
    """The sites of the package's own training loop, else of a user's."""
    name, built, stepped = LOOPS.get(package, ("train.py", "torch.optim.Adam(", "optimizer.step()"))
    text = None if package in LOOPS else USERS_LOOP
    source = files.setdefault(str(root / name), Source(root / name, text))
    found: dict[str, SourceSite] = {}
    for called, frame, _ in source.calls():
        call = frame.expression or frame.text
        role = "optimizer" if call.startswith(built) else "step" if call == stepped else ""
        role = role or ("watch" if called == "watch" else "")
        if role and role not in found:
            found[role] = SourceSite(frames=[frame], origin="call")
    return found


def diagnosis(frame: SourceFrame, attribute: str, related: dict[str, SourceSite]) -> Diagnosis:
    evidence = Evidence(statistic="x", value=1, threshold=0, comparison="above", n=9, p_value=0.01)
    return Diagnosis(
        id=f"DEAD_EMBEDDINGS:{attribute}@bench",
        type="DEAD_EMBEDDINGS",
        layer=attribute or "layer",
        severity="warning",
        confidence=0.9,
        premise="p",
        implies="i",
        action="a",
        expected_effect="e",
        evidence=[evidence],
        site=SourceSite(frames=[frame], attribute=attribute, origin="constructor"),
        related=related,
    )


def unchanged_outside(before: str, after: str, edits: list[TextEdit], source: SourceText) -> bool:
    """Whether the spans between the edits follow each other in the result, byte for byte."""
    places = sorted(
        (source.offset(edit.range.start), source.offset(edit.range.end), edit.new_text)
        for edit in edits
    )
    at = done = 0
    for start, end, new in places:
        kept = before[done:start]
        if after[at : at + len(kept)] != kept or not after[at + len(kept) :].startswith(new):
            return False
        at, done = at + len(kept) + len(new), end
    return after[at:] == before[done:]


def parses(text: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(text)
        except SyntaxError:
            return False
    return True


def measure(package: str, root: Path, per_file: int, tallies: dict[str, Tally]) -> int:
    files: dict[str, Source] = {}
    related = loop_of(package, root, files)
    anchors: dict[SourceFrame, Frame] = {}

    def frames(site: SourceSite) -> list[Frame]:
        for frame in site.frames:
            if frame not in anchors:
                known = files[frame.file]
                anchors[frame] = known.path, known.source, resolve(frame, known.source)
        return [anchors[frame] for frame in site.frames]

    sites = 0
    for path in sorted(root.glob(MODELS[package])):
        source = files.setdefault(str(path), Source(path))
        chosen = [each for each in source.calls() if each[0] in TABLES | LAYERS]
        if package == "transformers" and per_file:
            # Tables first, as most fixes are about them.
            chosen = sorted(chosen, key=lambda each: each[0] not in TABLES)[:per_file]
        for _, frame, attribute in chosen:
            sites += 1
            for fix, parameters in OFFERS.items():
                given = [parameters]
                if fix == "reduce-learning-rate":
                    given.append({**parameters, "parameters": f"{attribute}.weight"})
                for each in given:
                    context = FixContext(
                        diagnosis(frame, attribute, related),
                        FixOffer(fix=fix, parameters=each),
                        frames,
                    )
                    judge(context, tallies[fix], {str(p): s for p, s in files.items()})
        anchors.clear()
        if str(path) not in {each.frames[0].file for each in related.values()}:
            del files[str(path)]
    return sites


def judge(context: FixContext, tally: Tally, files: dict[str, Source]) -> None:
    (proposed,) = propose(context)
    if proposed.disabled_reason is not None:
        tally.counts["refused"] += 1
        reason = re.sub(r"\d+", "N", proposed.disabled_reason)
        tally.reasons[re.sub(r"(?<=is given as ).*?(?= on line)", "...", reason)] += 1
        return
    tally.counts["applied"] += 1
    for path, edits in proposed.edits().items():
        source = files[str(path)].source
        after = apply_edits(source.text, edits)
        good, same = parses(after), unchanged_outside(source.text, after, edits, source)
        tally.counts["parse"] += good
        tally.counts["same"] += same
        tally.counts["files"] += 1
        if not good or not same:
            where = context.diagnosis.site.frames[0]
            tally.failures.append(f"{where.file}:{where.start_line}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--per-file", type=int, default=4)
    parser.add_argument("--packages", nargs="*", default=list(MODELS))
    arguments = parser.parse_args()
    tallies = {fix: Tally() for fix in OFFERS}
    for package, root in packages(arguments.packages).items():
        began = time.process_time()
        sites = measure(package, root, arguments.per_file, tallies)
        spent = time.process_time() - began
        print(f"{package:<14} {sites:>6,} sites, {spent:.0f} s of process time", flush=True)
    print(f"\n{'fix':<22} {'applied':>8} {'refused':>8} {'parse':>7} {'same':>7}")
    for fix, tally in tallies.items():
        counts = tally.counts
        shares = [
            f"{counts[k] / counts['files']:.0%}" if counts["files"] else "-"
            for k in ("parse", "same")
        ]
        print(
            f"{fix:<22} {counts['applied']:>8,} {counts['refused']:>8,} "
            f"{shares[0]:>7} {shares[1]:>7}"
        )
    print("\nmost frequent reasons to refuse")
    for fix, tally in tallies.items():
        for reason, count in tally.reasons.most_common(3):
            print(f"  {count:>6,}  {fix}: {reason[:110]}")
    for fix, tally in tallies.items():
        for failure in tally.failures[:5]:
            print(f"FAILED {fix} at {failure}")


if __name__ == "__main__":
    main()
