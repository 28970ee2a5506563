"""A workspace of real files, with diagnoses whose frames point into it and fixes made there."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gradtracer_schemas import Diagnosis, Evidence, FixOffer, SourceFrame, SourceSite
from gradtracer_server.fixes.proposal import FixContext, Frame, ProposedFix
from gradtracer_server.fixes.registry import propose
from gradtracer_server.source.anchors import resolve
from gradtracer_server.source.documents import Documents
from gradtracer_server.source.edits import apply_edits
from gradtracer_server.source.workspace import Workspace


class Bench:
    """Writes scripts, marks where a run recorded frames, and makes fixes there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.documents = Documents()
        self.workspace = Workspace([root])

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        return path

    def frame(self, path: Path, expression: str, qualname: str = "<module>") -> SourceFrame:
        """The frame of a call, by its exact text, as the probe would record it."""
        text = path.read_bytes().decode()
        tree = ast.parse(text)
        lines = text.splitlines(keepends=True)
        calls = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and ast.get_source_segment(text, node) == expression
        ]
        assert calls, f"{expression} is not called in {path}"
        statements = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.stmt)
            and node.lineno <= calls[0].lineno
            and (node.end_lineno or 0) >= (calls[0].end_lineno or 0)
            and (node.lineno, node.col_offset) <= (calls[0].lineno, calls[0].col_offset)
        ]
        statement = max(statements, key=lambda node: (node.lineno, node.col_offset))
        return SourceFrame(
            file=str(path),
            start_line=statement.lineno,
            start_column=statement.col_offset,
            end_line=statement.end_lineno or 0,
            end_column=statement.end_col_offset or 0,
            qualname=qualname,
            text=ast.get_source_segment("".join(lines), statement) or "",
            expression=expression,
        )

    def frames(self, site: SourceSite) -> list[Frame]:
        found: list[Frame] = []
        for frame in site.frames:
            path = self.workspace.resolve_file(frame.file, str(self.root), self.root)
            source = None if path is None else self.documents.get(path)
            if path is not None and source is not None:
                found.append((path, source, resolve(frame, source)))
        return found

    def diagnosis(
        self,
        site: Sequence[SourceFrame] = (),
        watch: Sequence[SourceFrame] = (),
        fixes: Sequence[FixOffer] = (),
        related: Mapping[str, Sequence[SourceFrame]] = {},
        attribute: str = "item_emb",
    ) -> Diagnosis:
        sites = {**related, "watch": watch} if watch else related
        return Diagnosis(
            id="DEAD_EMBEDDINGS:item_emb@run",
            type="DEAD_EMBEDDINGS",
            layer="item_emb",
            severity="warning",
            confidence=0.9,
            premise="p",
            implies="i",
            action="a",
            expected_effect="e",
            evidence=[
                Evidence(
                    statistic="dead", value=1, threshold=0, comparison="above", n=9, p_value=0.01
                )
            ],
            site=SourceSite(frames=list(site), attribute=attribute),
            related={role: SourceSite(frames=list(frames)) for role, frames in sites.items()},
            fixes=list(fixes),
        )

    def propose(
        self,
        fix: str | None,
        site: Sequence[SourceFrame] = (),
        watch: Sequence[SourceFrame] = (),
        fixes: Sequence[FixOffer] = (),
        related: Mapping[str, Sequence[SourceFrame]] = {},
        attribute: str = "item_emb",
        **parameters: Any,
    ) -> list[ProposedFix]:
        diagnosis = self.diagnosis(site, watch, fixes, related, attribute)
        offer = None if fix is None else FixOffer(fix=fix, parameters=parameters, preferred=True)
        return propose(FixContext(diagnosis, offer, self.frames))

    def one(self, fix: str, **arguments: Any) -> ProposedFix:
        (proposed,) = self.propose(fix, **arguments)
        return proposed

    def make(self, fix: ProposedFix) -> dict[str, str]:
        """Texts of the files that a fix changes, by name."""
        assert fix.disabled_reason is None
        return {
            path.name: apply_edits(path.read_bytes().decode(), edits)
            for path, edits in fix.edits().items()
        }
