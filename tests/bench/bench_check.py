"""How long `gradtracer check` takes, from process start to exit, beside `ruff check`.

    python tests/bench/bench_check.py [REPEATS]

50 runs of 200 layers, ten of them diagnosed. Whole processes, wall clock, taken in turns; files are
in the page cache, as after any first call. The processor's share tells how busy the machine was.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))

from run_factory import RunFactory

RUNS, LAYERS, SICK = 50, 200, 10
GOAL_MS = 400


def prepare(root: Path) -> None:
    """The runs: one script each time, as a sweep leaves them behind."""
    project = RunFactory(root, [f"table_{number}" for number in range(LAYERS)])
    for _ in range(RUNS):
        run = project.start()
        run.watch_layers()
        for layer in project.layers:
            run.observe(layer)
        for layer in project.layers[:SICK]:
            run.diagnose("ZOMBIE_EMBEDDINGS", layer)
        run.progress(step=300)
        run.end()


def timed(command: list[str], folder: Path) -> tuple[float, float]:
    """Wall and processor milliseconds of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=False)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return 1e3 * wall, 1e3 * used


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ruff = shutil.which("ruff", path=tools)
    command = [sys.executable, "-m", "gradtracer_server"]
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        jobs = {
            "gradtracer check": [*command, "check"],
            "gradtracer check to SARIF": [*command, "check", "--output-format", "sarif"],
            "python -c 'import msgspec'": [sys.executable, "-c", "import msgspec"],
        }
        if ruff is not None:
            jobs["ruff check --no-cache"] = [ruff, "check", "--no-cache"]
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
        for _ in range(repeats):
            for name, job in jobs.items():
                times[name].append(timed(job, Path(folder)))
    print(f"{RUNS} runs x {LAYERS} layers, {repeats} processes each, in turns")
    print(f"{'':<40} {'median':>8} {'best':>8} {'processor':>10}")
    for name, pairs in times.items():
        walls, used = zip(*pairs, strict=True)
        print(
            f"{name:<40} {statistics.median(walls):>5.0f} ms {min(walls):>5.0f} ms "
            f"{statistics.median(used):>7.0f} ms"
        )
    print(f"goal: {GOAL_MS} ms")


if __name__ == "__main__":
    main()
