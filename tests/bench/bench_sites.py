"""How many layers of models that nobody here wrote are placed on the statement that built them.

    python tests/bench/bench_sites.py [--packages recbole deepctr transformers] [--misses 20]

Every module below the root of every model counts as a layer. `exact`: the statement is the one that
`construction_truth` saw build it; `call`: so is the call in it; `wrong`: another statement; `none`:
no statement. `imported first`: gradtracer was there when the models were built; `fallback`: it was
imported after the last of them had been built, and had their classes' source alone. The goals for
`exact` are 99.5 % and 97 %.

Then what the record costs: one transformers model of 1,000 modules is built with it and without,
in interleaved pairs, on the meta device and with its weights.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workspaces"))

from package_models import PACKAGES, buildable, environment

MODES = ("imported first", "fallback")


def measure(package: str, mode: str, every: int) -> dict[str, Any]:
    """Build every model of a package, or every n-th, and place its layers."""
    if mode == MODES[0]:
        import gradtracer
    from construction_truth import Truth

    truth = Truth()
    truth.install()
    models: dict[str, Any] = {}
    failed: list[str] = []
    for model in islice(buildable(package), 0, None, every):
        try:
            models[model.name] = model.build()
        except Exception as error:
            failed.append(f"{model.name}: {type(error).__name__}: {str(error).strip()[:80]}")
    assert ("gradtracer" in sys.modules) == (mode == MODES[0])
    import gradtracer

    counts: Counter[str] = Counter()
    misses: list[str] = []
    spent = 0.0
    for name, model in models.items():
        began = time.process_time()
        sites = gradtracer.locate(model)
        spent += time.process_time() - began
        for path, module in model.named_modules():
            if path:
                verdict, told = judge(sites[path], truth.calls.get(id(module)))
                counts[verdict] += 1
                if verdict not in ("exact", "no truth"):
                    misses.append(f"{verdict}: {name}.{path} ({type(module).__name__}) {told}")
    return {
        "models": len(models),
        "failed": failed,
        "counts": dict(counts),
        "misses": misses,
        "milliseconds": 1000 * spent,
    }


def judge(site: Any, call: Any) -> tuple[str, str]:
    """The verdict on a site, and what to say of a miss."""
    from construction_truth import statement_at, text_at

    if call is None:
        return "no truth", ""
    wanted = statement_at(call)
    if wanted is None:
        return "no truth", ""
    place = f"{call.file}:{call.line}"
    if not site.frames:
        return "none", f"built at {place}"
    frame = site.frames[0]
    here = (frame.file, frame.start_line, frame.end_line)
    if here != (wanted.file, wanted.line, wanted.end_line):
        return "wrong", f"built at {place}, placed at {frame.file}:{frame.start_line}"
    # Of the statements on one line, its column tells.
    if len(frame.text.encode()) and wanted.end_column >= 0 and frame.start_column > call.column:
        return "wrong", f"another statement of {place}"
    called = text_at(call)
    return ("exact", "") if called in (frame.expression, frame.text) else ("other call", place)


def report(packages: list[str], shown: int, every: int) -> None:
    print(f"{'package':<14}{'mode':<16}{'models':>7}{'layers':>8}", end="")
    print(f"{'exact %':>9}{'call %':>9}{'wrong %':>9}{'none %':>8}{'us a layer':>12}", flush=True)
    total: dict[str, Counter[str]] = {mode: Counter() for mode in MODES}
    failed: dict[str, list[str]] = {}
    for package in packages:
        for mode in MODES:
            found = in_environment(package, mode, every)
            counts = Counter(found["counts"])
            total[mode] += counts
            failed[package] = found["failed"]
            layers = sum(counts.values()) - counts["no truth"]
            micro = 1000 * found["milliseconds"] / max(layers, 1)
            row(package, mode, str(found["models"]), counts, f"{micro:>12.0f}")
            for miss in found["misses"][:shown]:
                print("   ", miss)
    for mode in MODES:
        row("all", mode, "", total[mode], "")
    for package, names in failed.items():
        print(f"{package}: {len(names)} models do not build here")
        for name in names[:shown]:
            print("   ", name)


def row(package: str, mode: str, models: str, counts: Counter[str], rest: str) -> None:
    layers = max(sum(counts.values()) - counts["no truth"], 1)
    exact = counts["exact"] + counts["other call"]
    shares = (exact, counts["exact"], counts["wrong"], counts["none"])
    told = "".join(
        f"{100 * each / layers:>{w}.2f}" for each, w in zip(shares, (9, 9, 9, 8), strict=True)
    )
    print(f"{package:<14}{mode:<16}{models:>7}{layers:>8}{told}{rest}", flush=True)


def in_environment(package: str, mode: str, every: int) -> dict[str, Any]:
    """`measure` in a process of its own, beside the packages."""
    command = [environment(), __file__, "--measure", package, mode, str(every)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def cost(pairs: int = 15) -> None:
    """Build one model with the record and without, in interleaved pairs of this process."""
    import torch
    from torch import nn
    from transformers import BertConfig, BertModel

    import gradtracer

    torch.set_num_threads(1)
    recording, plain = nn.Module.__init__, nn.Module.__init__.__wrapped__  # pyright: ignore
    config = BertConfig(num_hidden_layers=62, hidden_size=96, intermediate_size=96, vocab_size=1000)

    def build(init: Any, device: str) -> tuple[float, Any]:
        nn.Module.__init__ = init
        began = time.process_time()
        with torch.device(device):
            model = BertModel(config)
        spent = time.process_time() - began
        nn.Module.__init__ = recording
        return spent, model

    for device in ("meta", "cpu"):
        build(plain, device)
        times = [[build(init, device)[0] for init in (plain, recording)] for _ in range(pairs)]
        extra = statistics.median(after - before for before, after in times)
        whole = statistics.median(before for before, _ in times)
        _, model = build(recording, device)
        count = sum(1 for _ in model.modules())
        began = time.process_time()
        gradtracer.locate(model)
        located = time.process_time() - began
        print(
            f"recording {count} modules of BERT, {device}: {1e6 * extra / count:.1f} us a module,",
            end=" ",
        )
        print(
            f"{100 * extra / whole:+.1f} % of {1000 * whole:.0f} ms; locate {1000 * located:.0f} ms"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", nargs="+", default=list(PACKAGES), choices=PACKAGES)
    parser.add_argument("--every", type=int, default=1, help="build every n-th model only")
    parser.add_argument("--misses", type=int, default=0, help="misses to name for each row")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if options.measure:
        with contextlib.redirect_stdout(io.StringIO()):
            package, mode, every = options.measure
            found = measure(package, mode, int(every))
        print(json.dumps(found))
        return
    report(options.packages, options.misses, options.every)
    cost()


if __name__ == "__main__":
    main()
