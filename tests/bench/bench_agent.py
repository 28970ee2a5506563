"""What an agent spends from "what is wrong with this run?" to an applied and verified fix.

    python tests/bench/bench_agent.py [EPOCHS]

A scripted agent that has the tools of `gradtracer mcp` and nothing else, on the MovieLens example.
The training is started anew by a loop that stands for the user's, whenever the script has changed.
Tokens are counted as characters / 4, of what the tools answer.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters

EXAMPLES = Path(__file__).parents[2] / "examples"
GOAL_CALLS, GOAL_TOKENS = 5, 6_000


class Agent:
    """Calls tools, and keeps the bill."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.bill: list[tuple[str, int, float]] = []

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        began = time.perf_counter()
        result: Any = await self.client.call_tool(tool, arguments)
        text = "".join(content.text for content in result.content)
        self.bill.append((tool, len(text), time.perf_counter() - began))
        assert not result.is_error, text
        return json.loads(text)


def train(script: Path, epochs: int) -> None:
    command = [sys.executable, script.name, "--epochs", str(epochs)]
    subprocess.run(command, cwd=script.parent, check=True, stdout=subprocess.DEVNULL)


def retrain_on_change(script: Path, text: str, epochs: int) -> None:
    deadline = time.monotonic() + 120
    while script.read_text(encoding="utf-8") == text:
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)
    train(script, epochs)


async def diagnose_and_fix(agent: Agent) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The whole of what the agent does."""
    found = await agent.call("get_diagnoses")
    finding = found["findings"][0]
    proposed = await agent.call("propose_fix", diagnosis_id=finding["id"])
    applied = await agent.call(
        "apply_fix",
        diagnosis_id=finding["id"],
        fix=proposed["fix"],
        expect_sha256=proposed["expect_sha256"],
    )
    assert applied["state"] == "applied", applied
    await agent.call("wait_until", ended=True, timeout_seconds=120)
    after = await agent.call("get_diagnoses")
    return found, proposed, after


async def main() -> None:
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as folder:
        for name in ("movielens.py", "movielens_mf.py"):
            shutil.copy(EXAMPLES / name, folder)
        script = Path(folder) / "movielens_mf.py"
        text = script.read_text(encoding="utf-8")
        train(script, epochs)
        server = StdioServerParameters(
            command=sys.executable, args=["-m", "gradtracer_server", "mcp", folder], cwd=folder
        )
        async with Client(server) as client:
            tools = (await client.list_tools()).tools
            listed = sum(len(tool.model_dump_json(exclude_none=True)) for tool in tools)
            listed += len(client.instructions or "")
            agent = Agent(client)
            user = asyncio.create_task(asyncio.to_thread(retrain_on_change, script, text, epochs))
            found, proposed, after = await diagnose_and_fix(agent)
            await user
    print(f"{'call':<16} {'tokens':>8} {'seconds':>8}")
    for tool, characters, seconds in agent.bill:
        print(f"{tool:<16} {characters / 4:>8.0f} {seconds:>8.2f}")
    calls, tokens = len(agent.bill), sum(characters for _, characters, _ in agent.bill) / 4
    print(
        f"{f'{calls} calls':<16} {tokens:>8.0f}   goal: {GOAL_CALLS} calls, {GOAL_TOKENS:,} tokens"
    )
    print(f"beside them once {listed / 4:>8.0f}   tools and instructions\n")
    print(f"made: {proposed['title']}")
    for name, answer in (("before", found), ("after", after)):
        (run,) = answer["runs"]
        metric = run.get("metrics", {}).get("validation_ndcg_at_10")
        print(f"{name}: {len(answer['findings'])} findings, validation NDCG@10 {metric}")
        for finding in answer["findings"]:
            print(f"    {finding['measured']}")


if __name__ == "__main__":
    asyncio.run(main())
