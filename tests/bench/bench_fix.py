"""What the demo's first fix is worth: test NDCG@10 as found and as fixed, same seeds.

python tests/bench/bench_fix.py [SEEDS]
"""

from __future__ import annotations

import math
import re
import statistics
import subprocess
import sys
from pathlib import Path

from scipy import stats

SCRIPT = Path(__file__).parents[2] / "examples" / "movielens_mf.py"


def ndcg(seed: int, decay: str) -> float:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--no-watch", "--seed", str(seed), "--weight-decay", decay],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"^test +NDCG@10 ([0-9.]+)", done.stdout, re.MULTILINE)
    assert found is not None
    return float(found[1])


def main() -> None:
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
    before = [ndcg(seed, "1e-4") for seed in seeds]
    after = [ndcg(seed, "1e-5") for seed in seeds]
    gain = [b / a - 1 for a, b in zip(before, after, strict=True)]
    half = stats.t.ppf(0.975, len(gain) - 1) * statistics.stdev(gain) / math.sqrt(len(gain))
    print(f"{'seed':>4} {'weight_decay 1e-4':>18} {'1e-5':>8}")
    for seed, a, b in zip(seeds, before, after, strict=True):
        print(f"{seed:>4} {a:>18.4f} {b:>8.4f}")
    print(f"mean {statistics.mean(before):>18.4f} {statistics.mean(after):>8.4f}")
    mean = statistics.mean(gain)
    p = stats.ttest_rel(after, before).pvalue
    print(f"gain {mean:+.0%} [{mean - half:+.0%}, {mean + half:+.0%}], paired t-test p = {p:.2g}")


if __name__ == "__main__":
    main()
