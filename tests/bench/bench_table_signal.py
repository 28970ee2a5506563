"""Could a table's gradients tell that labels are noise? Why LOW_GRADIENT_SNR is silent on tables.

`GRADTRACER_DATA=... python tests/bench/bench_table_signal.py [--seeds 1]` factorises MovieLens-100K
(two tables of 64 dimensions, every step followed, Adam, squared error of standardised ratings) with
the ratings as they are and dealt out anew at every epoch, and prints of each setting, over seeds

- the highest z of the test for any signal that either table came to, as the least and the largest
  over seeds: of `whole`, each step's gradient summed into 256 numbers (rows by a random sign and
  place) and compared with all before, and of `rows 4` and `rows 16`, each row's gradient compared
  with its last one in 4 numbers, as a table's state has them, or in 16, of which it would take 24
  bytes a row more;
- the last z of `whole`, the largest share of the squared norm that the first values still hold, and
  the loss over that of the mean;
- how many trainings would be called noise at any look by `whole` and `rows 4`: neither ever above
  3.5, neither below -2 now, less than half of the first values left, 50 look-ups a row.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from gradtracer.statistics.gradient_sample import WIDTH
from gradtracer.statistics.gradient_snr import GradientDirections

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from movielens import load

DIM, SKETCH, EVERY = 64, 16, 64
LOOK_UPS, SIGNAL, LOW = 50, 3.5, -2.0
SETTINGS = (
    (0.01, 1e-3, 256, 1024),
    (0.1, 1e-3, 256, 2048),
    (1.0, 1e-3, 256, 1024),
    (0.01, 5e-3, 64, 4096),
    (0.1, 5e-3, 64, 4096),
    (0.1, 1e-2, 64, 4096),
    (0.01, 1e-2, 256, 1536),
    (0.1, 1e-2, 256, 1536),
)
"""Standard deviation of the first values, learning rate, batch, steps."""


@dataclass
class Sum:
    """Self-normalised z of products that are zero in the mean under noise."""

    product: float = 0.0
    square: float = 0.0
    highest: float = -math.inf
    steps: int = 0

    def add(self, u: float) -> None:
        self.product, self.square, self.steps = (
            self.product + u,
            self.square + u * u,
            self.steps + 1,
        )
        if self.steps >= 32:
            self.highest = max(self.highest, self.now)

    @property
    def now(self) -> float:
        return self.product / math.sqrt(self.square) if self.square else 0.0


class Watched:
    """One table `[N, 64]`, and what its gradients say."""

    def __init__(self, rows: int, std: float, g: torch.Generator) -> None:
        self.table = nn.Embedding(rows, DIM)
        nn.init.normal_(self.table.weight, 0, std, generator=g)
        self.start = self.table.weight.detach().clone()
        self._basis = torch.linalg.qr(torch.randn(DIM, SKETCH, generator=g)).Q
        self._sign = torch.randint(2, (rows, 1), generator=g) * 2.0 - 1.0
        self._place = torch.randint(WIDTH // SKETCH, (rows,), generator=g)
        self._whole = GradientDirections(1, 1, torch.device("cpu"))
        self._last, self._times = torch.zeros(rows, SKETCH), torch.zeros(rows, dtype=torch.long)
        self.rows = {4: Sum(), 16: Sum()}
        self.look_ups = 0

    def follow(self, ids: torch.Tensor) -> None:
        rows, grad = ids.unique(), self.table.weight.grad
        assert grad is not None
        z, self.look_ups = grad[rows] @ self._basis, self.look_ups + ids.numel()
        sample = torch.zeros(WIDTH // SKETCH, SKETCH).index_add_(
            0, self._place[rows], z * self._sign[rows]
        )
        self._whole.add(sample.view(1, 1, WIDTH), torch.ones(1, 1, dtype=torch.bool), None)
        again = self._times[rows] > 0
        for width, total in self.rows.items():
            at = self._times[rows, None] * width % SKETCH + torch.arange(width)
            a, b = z.gather(1, at), self._last[rows].gather(1, at)
            length = (a.square() + b.square()).sum(1).clamp(min=1e-38)
            total.add(float((2 * (a * b).sum(1) / length)[again].sum()))
        self._last[rows] = z
        self._times[rows] += 1

    def whole(self) -> tuple[float, float]:
        """Highest z, and z now."""
        sums = self._whole.published()
        return float(sums.strongest), float(sums.product / sums.square.sqrt())

    def left(self) -> float:
        a, b = self.start, self.table.weight.detach()
        return float((a * b).sum().square() / (a.square().sum() * b.square().sum()))


@dataclass
class Outcome:
    highest: list[float] = field(default_factory=list)
    """Of `whole`, `rows 4` and `rows 16`."""
    now: float = 0.0
    left: float = 1.0
    loss: float = 1.0
    called: bool = False


def train(
    data: tuple[torch.Tensor, ...], noise: bool, setting: tuple[float, float, int, int], seed: int
) -> Outcome:
    users, items, ratings = data
    std, lr, batch, steps = setting
    g = torch.Generator().manual_seed(seed)
    sides = [Watched(int(ids.max()) + 1, std, g) for ids in (users, items)]
    optimizer = torch.optim.Adam([side.table.weight for side in sides], lr=lr)
    found, step = Outcome(), 0
    while step < steps:
        labels = ratings[torch.randperm(len(ratings), generator=g)] if noise else ratings
        for some in torch.randperm(len(ratings), generator=g).split(batch):
            both = users[some], items[some]
            score = (sides[0].table(both[0]) * sides[1].table(both[1])).sum(1)
            loss = (score - labels[some]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            for side, ids in zip(sides, both, strict=True):
                side.follow(ids)
            optimizer.step()
            found.loss += 0.01 * (loss.item() - found.loss)
            step += 1
            if step % EVERY == 0:
                _look(found, sides)
            if step == steps:
                break
    return found


def _look(found: Outcome, sides: list[Watched]) -> None:
    whole = [side.whole() for side in sides]
    narrow, wide = ([side.rows[width] for side in sides] for width in (4, 16))
    found.highest = [
        max(highest for highest, _ in whole),
        max(each.highest for each in narrow),
        max(each.highest for each in wide),
    ]
    found.now = min(now for _, now in whole)
    found.left = max(side.left() for side in sides)
    found.called |= (
        max(found.highest[:2]) < SIGNAL
        and min(found.now, *(each.now for each in narrow)) > LOW
        and found.left < 0.5
        and min(side.look_ups / len(side.start) for side in sides) >= LOOK_UPS
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    table = load()
    _, users = torch.from_numpy(table.users).unique(return_inverse=True)
    _, items = torch.from_numpy(table.items).unique(return_inverse=True)
    ratings = torch.from_numpy(table.ratings).float()
    data = users, items, (ratings - ratings.mean()) / ratings.std()
    print(f"{'labels':<7}{'std':>5}{'rate':>7}{'batch':>6}{'steps':>6}", end="")
    print(f"{'whole':>14}{'rows 4':>14}{'rows 16':>14}{'now':>7}{'left':>6}{'loss':>6}  called")
    for setting in SETTINGS:
        for noise in (False, True):
            found = [train(data, noise, setting, seed) for seed in range(seeds)]
            std, lr, batch, steps = setting
            print(f"{'noise' if noise else 'true':<7}{std:>5}{lr:>7}{batch:>6}{steps:>6}", end="")
            for each in zip(*(one.highest for one in found), strict=True):
                print(f"{min(each):>7.1f}{max(each):>7.1f}", end="")
            now, left = min(one.now for one in found), max(one.left for one in found)
            loss, called = max(one.loss for one in found), sum(one.called for one in found)
            print(f"{now:>7.1f}{left:>6.2f}{loss:>6.2f}  {called} of {seeds}", flush=True)


if __name__ == "__main__":
    main()
