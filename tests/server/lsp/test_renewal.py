"""What stands is not placed again: an event costs one finding, not all."""

from __future__ import annotations

import msgspec
from run_factory import RunFactory

from gradtracer_server.findings import find
from gradtracer_server.runbook import RunBook
from gradtracer_server.source.documents import Documents
from gradtracer_server.source.workspace import Workspace


def test_a_finding_is_placed_again_only_when_the_run_says_something_new(
    project: RunFactory,
) -> None:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    run.diagnose("POPULARITY_BIAS", "user_emb")
    raised = run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb")
    book, documents, workspace = RunBook([project.root]), Documents(), Workspace([project.root])
    book.refresh()
    first = find(book.runs, documents, workspace)
    again = find(book.runs, documents, workspace)
    assert not any(new is old for new, old in zip(again, first, strict=True))
    run.update(msgspec.structs.replace(raised, premise="42 rows by now"))
    book.refresh()
    second = find(book.runs, documents, workspace, known=first)
    assert [new is old for new, old in zip(second, first, strict=True)] == [True, False]
    assert second[1].diagnosis.premise == "42 rows by now"
