"""What compression leaves of a table: bytes on disk and in memory, and the speed of its look-ups.

    python tests/bench/bench_compressed_model.py [--rows 100000] [--memory-rows 500000]

Speeds are process CPU times of one thread, each beside the FP32 look-up of the same ids in the same
turn; the ratio is the median over the turns. Memory is what a process of its own holds after
`compress(inplace=True)`, against what the saved file loses.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from gradtracer.compression.application import compress
from gradtracer.compression.compressed_file import save_compressed
from gradtracer.compression.packed_layers import PackedEmbedding, PackedEmbeddingBag
from gradtracer.compression.packed_table import PackedTable
from gradtracer.compression.row_set import pack_rows
from gradtracer_schemas import Quantization

BATCH = 4096
TURNS = 60
GOALS = {"INT8": 1.1, "INT4": 1.1, "INT8 + INT4": 2.0, "INT8 + INT4, 30 % dropped": 2.0}


def variants(weight: Tensor) -> dict[str, PackedTable]:
    """Tables by name; the tiered ones keep a random half, or a fifth, at 8 bits."""
    share = torch.rand(len(weight), generator=torch.Generator().manual_seed(2))
    plain: tuple[Quantization, ...] = ("FP16", "INT8", "INT4", "INT2")
    tables: dict[str, PackedTable] = {name: PackedTable.from_weight(weight, name) for name in plain}
    tables["INT8 + INT4"] = PackedTable.from_weight(weight, "INT4", tiers=[("INT8", share < 0.5)])
    tables["INT8 + INT4, 30 % dropped"] = PackedTable.from_weight(
        weight, "INT4", tiers=[("INT8", share < 0.2)], dropped=share > 0.7
    )
    return tables


def ratios(
    plain: Callable[[], object], others: dict[str, Callable[[], object]], turns: int = TURNS
) -> dict[str, tuple[float, float]]:
    """Median time in microseconds, and median ratio to `plain` of the same turn."""
    times: dict[str, list[float]] = {name: [] for name in ("FP32", *others)}
    for _ in range(turns):
        for name, call in {"FP32": plain, **others}.items():
            start = time.process_time()
            for _ in range(10):
                call()
            times[name].append((time.process_time() - start) / 10 * 1e6)
    return {
        name: (
            statistics.median(each),
            statistics.median(a / b for a, b in zip(each, times["FP32"], strict=True)),
        )
        for name, each in times.items()
    }


def speeds(rows: int) -> None:
    weight = torch.randn(rows, 64, generator=torch.Generator().manual_seed(1))
    ids = torch.randint(0, rows, (BATCH,), generator=torch.Generator().manual_seed(3))
    bags = ids.view(-1, 16)
    x = torch.randn(64, 64)
    tables = variants(weight)
    plain, bag = nn.Embedding.from_pretrained(weight), nn.EmbeddingBag.from_pretrained(weight)
    with torch.no_grad():
        looked_up = ratios(
            lambda: plain(ids),
            {name: _call(PackedEmbedding(each).eval(), ids) for name, each in tables.items()},
        )
        averaged = ratios(
            lambda: bag(bags),
            {name: _call(PackedEmbeddingBag(each).eval(), bags) for name, each in tables.items()},
        )
        scored = ratios(
            lambda: x @ weight.T,
            {name: _call(each.scores, x) for name, each in tables.items()},
            turns=3,
        )
    print(f"{rows:,} x 64, {BATCH:,} look-ups, one thread, process CPU time; ratios to FP32\n")
    print("| stored as | MB | look-up us | ratio | goal | bags of 16 | scores of 64 |")
    print("|---|---|---|---|---|---|---|")
    for name, (took, ratio) in looked_up.items():
        table = tables.get(name)
        size = (
            weight.nbytes if table is None else sum(b.nbytes for b in table.state_dict().values())
        )
        goal = GOALS.get(name)
        met = "" if goal is None else f"{goal:g}: {'met' if ratio <= goal else 'missed'}"
        print(
            f"| {name} | {size / 1e6:.2f} | {took:.0f} | {ratio:.2f} | {met} | "
            f"{averaged[name][1]:.2f} | {scored[name][1]:.2f} |"
        )


def _call(layer: Callable[[Tensor], Tensor], argument: Tensor) -> Callable[[], object]:
    return lambda: layer(argument)


def resident() -> int:
    """Bytes of this process in memory, what the allocator holds back returned first."""
    import ctypes

    ctypes.CDLL("libc.so.6").malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def measure_memory(rows: int, quantization: str) -> None:
    """In a process of its own: print what file and memory lose, as JSON."""
    torch.set_num_threads(1)
    model = nn.Sequential(nn.Embedding(rows, 64))
    # what the first call loads is not the model's
    compress(nn.Embedding(8, 64), {"model": "", "layers": {"_default": {"quantization": "INT4"}}})
    layer: dict[str, object] = {"quantization": quantization}
    if quantization == "tiered":
        share = np.random.default_rng(2).random(rows)
        row_set = pack_rows(share < 0.2)
        gone = pack_rows(share > 0.7)
        layer = {
            "quantization": "INT4",
            "tiers": [{"quantization": "INT8", "rows": msgspec.to_builtins(row_set)}],
            "dropped": msgspec.to_builtins(gone),
        }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        torch.save(model.state_dict(), path)
        file_before, memory_before = path.stat().st_size, resident()
        model = compress(model, {"model": "", "layers": {"0": layer}}, inplace=True)
        memory_after = resident()
        file_after = save_compressed(model, path)
    print(
        json.dumps(
            {
                "file": [file_before, file_after],
                "memory": [memory_before, memory_after],
            }
        )
    )


def memory(rows: int) -> None:
    print(f"\nA process with a model of {rows:,} x 64, before and after compress(inplace=True)\n")
    print("| stored as | file MB | memory MB | memory falls by | goal |")
    print("|---|---|---|---|---|")
    for name in ("INT8", "INT4", "tiered"):
        told = subprocess.run(
            [sys.executable, __file__, "--measure", name, "--memory-rows", str(rows)],
            capture_output=True,
            text=True,
            check=True,
        )
        found = json.loads(told.stdout.splitlines()[-1])
        (f0, f1), (m0, m1) = found["file"], found["memory"]
        share = (m0 - m1) / (f0 - f1)
        print(
            f"| {name} | {f0 / 1e6:.1f} > {f1 / 1e6:.1f} | {m0 / 1e6:.0f} > {m1 / 1e6:.0f} | "
            f"{share:.0%} of the file's | 80 %: {'met' if share >= 0.8 else 'missed'} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--memory-rows", type=int, default=500_000)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure_memory(options.memory_rows, options.measure)
        return
    torch.set_num_threads(1)
    speeds(options.rows)
    memory(options.memory_rows)


if __name__ == "__main__":
    main()
