"""What fixes of the training are worth: test NDCG@10 as found and as fixed, same seeds.

    python tests/bench/bench_fix.py [SEEDS] [FIX ...]

Each fix is made by the server's own code in a copy of examples/movielens_mf.py, and both are run.
The in-batch softmax that log Q corrects is not in the example: there its loss is replaced first,
for both. Gains are paired over seeds, with the 95 % interval of a t-test.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from scipy import stats

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "server"))

from fix_bench import Bench  # noqa: E402

EXAMPLE = ROOT / "examples" / "movielens_mf.py"
BUILT = """OPTIMIZERS[args.optimizer](
        model.parameters(), lr=args.lr, weight_decay=args.weight_decay
    )"""
WATCH = "gradtracer.watch(model, optimizer=optimizer, total_steps=args.epochs * steps)"
ITEM_TABLE = "nn.Embedding(num_items, dim, padding_idx=0)"
IN_BATCH = """    users, items = pairs.T
    logits = model.user_emb(users) @ model.item_emb(items).T
    return F.cross_entropy(logits, torch.arange(len(items)))
"""
MILD = ("--weight-decay", "1e-5")


class Trial(NamedTuple):
    """A fix, the script it is made in, and how both are run."""

    fix: str
    says: str
    parameters: dict[str, Any]
    """What is offered, for the table of items."""
    arguments: tuple[str, ...] = ()
    in_batch: bool = False


TRIALS = [
    Trial(
        "reduce-weight-decay",
        "1e-4 to 1e-5",
        {"weight_decay": 1e-5, "measured_decay": 1e-4},
    ),
    Trial("reduce-learning-rate", "0.01 to 0.003", {"lr": 3e-3}),
    Trial(
        "reduce-learning-rate",
        "0.01 to 0.003, decay 1e-5",
        {"lr": 3e-3},
        MILD,
    ),
    Trial(
        "sparse-gradients",
        "item table, decay 1e-4",
        {"optimizer": "Adam"},
    ),
    Trial(
        "sparse-gradients",
        "item table, decay 1e-5",
        {"optimizer": "Adam"},
        MILD,
    ),
    Trial("log-q-correction", "in-batch softmax", {}, MILD, in_batch=True),
]


def script(trial: Trial) -> str:
    """The example as it is found."""
    text = EXAMPLE.read_text(encoding="utf-8")
    if not trial.in_batch:
        return text
    start = text.index("    users, positives = pairs[:, :1], pairs[:, 1:]\n")
    end = text.index("    return F.binary_cross_entropy_with_logits(logits, labels)\n")
    end = text.index("\n", end) + 1
    return text[:start] + IN_BATCH + text[end:]


def fixed(trial: Trial, folder: Path) -> str:
    """The same with the fix, made as a click makes it."""
    text = script(trial)
    bench = Bench(folder)
    path = bench.write("train.py", text)
    proposed = bench.one(
        trial.fix,
        site=[
            bench.frame(path, ITEM_TABLE, "MatrixFactorization.__init__"),
            bench.frame(path, "MatrixFactorization(num_users, num_items, args.dim)", "main"),
        ],
        watch=[bench.frame(path, WATCH, "main")],
        related={"optimizer": [bench.frame(path, BUILT, "main")]},
        **trial.parameters,
    )
    if proposed.disabled_reason is not None:
        raise SystemExit(f"{trial.fix}: {proposed.disabled_reason}")
    return bench.make(proposed)["train.py"]


def ndcg(text: str, seed: int, arguments: tuple[str, ...], folder: Path) -> float:
    path = folder / "trained.py"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(path), "--no-watch", "--seed", str(seed), *arguments],
        env={**os.environ, "PYTHONPATH": str(EXAMPLE.parent), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"^test +NDCG@10 ([0-9.]+)", done.stdout, re.MULTILINE)
    if found is None:
        raise SystemExit(f"the training failed: {done.stderr[-500:]}")
    return float(found[1])


def row(trial: Trial, before: list[float], after: list[float]) -> str:
    """Means, relative gain with its interval, and p."""
    gain = [b / a - 1 for a, b in zip(before, after, strict=True)]
    mean = statistics.mean(gain)
    half = stats.t.ppf(0.975, len(gain) - 1) * statistics.stdev(gain) / len(gain) ** 0.5
    p = stats.ttest_rel(after, before).pvalue
    return (
        f"{trial.fix:<21} {trial.says:<26} {statistics.mean(before):>6.4f} "
        f"{statistics.mean(after):>6.4f}  {mean:>+5.0%} [{mean - half:+.0%}, {mean + half:+.0%}]"
        f"  p = {p:.2g}"
    )


def chosen(names: list[str]) -> Iterator[Trial]:
    yield from (trial for trial in TRIALS if not names or trial.fix in names)


def main() -> None:
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
    known: dict[tuple[str, int, tuple[str, ...]], float] = {}
    print(f"test NDCG@10, {len(seeds)} seeds\n{'':<48} before  after  gain", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for trial in chosen(sys.argv[2:]):
            arms: list[list[float]] = []
            for text in (script(trial), fixed(trial, folder)):
                for seed in seeds:
                    key = text, seed, trial.arguments
                    if key not in known:
                        known[key] = ndcg(*key, folder)
                arms.append([known[text, seed, trial.arguments] for seed in seeds])
            print(row(trial, *arms), flush=True)


if __name__ == "__main__":
    main()
