"""What an agent is told of a call that cannot be answered."""

from __future__ import annotations

from typing import Any

import pytest
from mcp import Client
from run_factory import RunFactory

from gradtracer_server.headless.desk import Desk
from gradtracer_server.headless.mcp import build


async def complaint(project: RunFactory, tool: str, **arguments: Any) -> str:
    async with Client(build(Desk([project.root]))) as client:
        result: Any = await client.call_tool(tool, arguments)
    assert result.is_error
    return result.content[0].text


async def test_argument_that_a_tool_does_not_have_is_refused(project: RunFactory) -> None:
    run = project.finished()
    said = await complaint(project, "get_diagnoses", runn=run.id)
    assert said == "get_diagnoses takes no argument 'runn'; did you mean run?"
    said = await complaint(project, "explain", diagnosis_id="x", verbose=True)
    assert said == "explain takes no argument 'verbose'; it takes diagnosis_id"


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("explain", {}, "explain: expected the argument diagnosis_id, got none"),
        (
            "wait_until",
            {"timeout_seconds": 1000},
            "wait_until: timeout_seconds: input should be less than or equal to 600, got 1000",
        ),
        (
            "get_diagnoses",
            {"select": ["DEAD"]},
            "get_diagnoses: select: input should be a valid string, got ['DEAD']",
        ),
    ],
)
async def test_value_is_told_with_what_was_expected(
    project: RunFactory, tool: str, arguments: dict[str, Any], said: str
) -> None:
    assert await complaint(project, tool, **arguments) == said


async def test_unknown_tool_names_the_nearest(project: RunFactory) -> None:
    said = await complaint(project, "propose_fixes")
    assert said.startswith("expected a tool, got 'propose_fixes'; did you mean propose_fix")
