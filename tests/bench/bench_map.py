"""Where recorded statements are found after random edits of the files they stand in.

    python tests/bench/bench_map.py [--scripts 1000] [--seed 0] [--misses 5]

Each script edits a real file of transformers 1 to 8 times: insertions, repeated statements,
deletions, commenting out, renames, changed arguments, swapped lines, moved and renamed classes,
half typed lines, and `ruff format` or `black` at several widths. Then every followed statement is
placed.
`right`: unchanged, and found in its place, or gone, and said so; `outdated`: changed, and said so
in its place (or said to be gone); `lost`: still there and said to be gone or outdated; `wrong`:
another statement, or a changed one called unchanged. The goals: 99.5 % for the first two, and 0
wrong.
`buffer`: the edits reached an open document one by one; `disk`: only the result is seen.
Last, what an edit and the placing of 1,000 statements take in one file of 50,000 lines.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from itertools import cycle
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workspaces"))

from edit_scripts import FORMATTERS, Script, followed, judge, place

from gradtracer_server.source.anchors import resolve
from gradtracer_server.source.documents import Documents
from gradtracer_server.source.index import Position, Range, SourceText

PATH = Path("/project/model.py")
HOME = Path(__file__).resolve().parents[2] / "build" / "bench-map"
BLACK = "black==26.10.1"
LARGE = 50_000


def add_black() -> None:
    """Black beside this environment; where it cannot be had, the bench says so and goes on."""
    if not (HOME / "black").is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(HOME), BLACK]
        if subprocess.run(pip, check=False).returncode != 0:
            print(f"{BLACK} could not be installed: ruff alone")
            return
    os.environ["PYTHONPATH"] = str(HOME)
    command = [sys.executable, "-m", "black", "--fast", "--quiet", "--line-length"]
    FORMATTERS["black"] = lambda width: [*command, str(width), "-"]


def files(wanted: int) -> list[Path]:
    """Files of transformers that build layers, of up to 1,500 lines."""
    import transformers

    found: list[Path] = []
    for path in sorted(Path(transformers.__file__).parent.glob("models/*/modeling_*.py"))[::7]:
        text = path.read_text(encoding="utf-8")
        if text.count("\n") < 1500 and len(followed(str(path), text)) >= 10:
            found.append(path)
    return found[:wanted]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scripts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--misses", type=int, default=0, help="misses to name")
    options = parser.parse_args()
    add_black()
    texts = [(path, path.read_text(encoding="utf-8")) for path in files(25)]
    verdicts: dict[str, Counter[str]] = {"buffer": Counter(), "disk": Counter()}
    kinds: Counter[str] = Counter()
    told = 0
    spent = 0.0
    for number in range(options.scripts):
        seed = options.seed + number
        path, text = texts[number % len(texts)]
        script = Script.begin(str(PATH), text, seed)
        documents = Documents()
        documents.open(PATH, text, 1)
        for version in range(random.Random(seed).randint(1, 8)):
            script.edit()
            # As a client sends it; the document finds out what has changed.
            began = time.process_time()
            documents.apply(PATH, [(None, script.text)], version + 2)
            spent += time.process_time() - began
        kinds.update(script.done)
        truth = script.truth()
        for way in verdicts:
            source = documents.get(PATH) if way == "buffer" else SourceText.parse(script.text)
            assert source is not None and source.text == script.text
            for index, frame in enumerate(script.frames):
                near = None
                if way == "buffer":
                    near = documents.current_line(PATH, frame.start_line - 1)
                began = time.process_time()
                known = documents.known_scopes(PATH) if way == "buffer" else None
                anchor = place(frame, source, near, script.recorded, known)
                spent += time.process_time() - began
                verdict = judge(script, anchor, truth.get(index))
                verdicts[way][verdict] += 1
                if verdict in ("wrong", "lost") and told < options.misses:
                    told += 1
                    print(f"{verdict} ({way}, seed {seed}, {path.name}): {frame.text[:80]!r}")
                    print(f"    was on {frame.start_line}, {anchor.state} at {anchor.range}")
                    print(f"    truth {truth.get(index)}, after {', '.join(script.done)}")
    print(f"{options.scripts} scripts over {len(texts)} files;", end=" ")
    print(", ".join(f"{count} {kind}" for kind, count in kinds.most_common()))
    print(f"{'seen in':<10}{'placed':>8}{'right %':>10}{'outdated %':>12}{'lost %':>9}{'wrong':>7}")
    for way, found in verdicts.items():
        total = sum(found.values())
        shares = [100 * found[each] / total for each in ("right", "outdated", "lost")]
        row = f"{way:<10}{total:>8}{shares[0]:>10.3f}{shares[1]:>12.3f}{shares[2]:>9.3f}"
        print(f"{row}{found['wrong']:>7}")
    print(f"{1000 * spent / options.scripts:.1f} ms a script, edits and placing of all statements")
    large(texts)


def large(texts: list[tuple[Path, str]]) -> None:
    """Edit and place in one long file."""
    text = ""
    for _, each in cycle(texts):
        text += each
        if text.count("\n") >= LARGE:
            break
    found = followed(str(PATH), text)
    frames = random.Random(0).sample(found, min(1000, len(found)))
    documents = Documents()
    began = time.process_time()
    documents.open(PATH, text, 1)
    times: list[float] = []
    for version in range(1, 22):
        if version > 1:
            began = time.process_time()
            documents.apply(PATH, [(Range(Position(9, 0), Position(9, 0)), "\n")], version)
        source = documents.get(PATH)
        assert source is not None
        for frame in frames:
            resolve(frame, source, documents.current_line(PATH, frame.start_line - 1))
        times.append(1e3 * (time.process_time() - began))
    print(
        f"{text.count(chr(10)):,} lines, {len(frames):,} statements: {times[0]:.0f} ms at first, "
        f"{statistics.median(times[1:]):.0f} ms after an edit (most {max(times[1:]):.0f})"
    )


if __name__ == "__main__":
    main()
