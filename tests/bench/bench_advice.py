"""Is the advice on the training right? Each proposed edit is made, and its effect measured.

    python tests/bench/bench_advice.py [SEEDS] [CASE ...]

Trainings that the tests were not designed on: a network over embedded categories on Adult census,
and matrix factorisation with a BPR loss on MovieLens-100K, each as it should be and with one fault
planted. What is raised is compared with what the edit is worth on held-out examples (AUC, NDCG@10),
paired over seeds: advice is right where the mean rises. A fault that goes unsaid although its edit
would help is a miss.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

import gradtracer
from gradtracer.analyzers.training import TrainingTracker
from gradtracer.diagnoses.finding import Finding

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "examples"))

import adult  # noqa: E402
import movielens  # noqa: E402

TYPES = ("MISSING_REGULARIZATION", "UNDERTRAINED", "LEARNING_RATE_TOO_HIGH")
BATCH = 512


@dataclass(frozen=True)
class Setting:
    """How a model is trained."""

    optimizer: str = "AdamW"
    lr: float = 3e-3
    decay: float = 0.1
    std: float = 0.1
    epochs: int = 20


CASES: dict[str, Setting] = {
    "as it should be": Setting(),
    "PyTorch's start, Adam": Setting("Adam", 1e-2, 0.0, std=1.0),
    "no decay": Setting("Adam", decay=0.0),
    "a tenth of the epochs": Setting(epochs=2),
    "a third of the epochs": Setting(epochs=7),
    "rate x 30": Setting("Adam", 0.1, 0.0),
}


class Categories(nn.Module):
    """A network over the embeddings of categorical columns."""

    def __init__(self, sizes: list[int], numbers: int, std: float) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, 8) for size in sizes)
        for table in self.tables:
            nn.init.normal_(table.weight, std=std)
        self.hidden = nn.Linear(8 * len(sizes) + numbers, 64)
        self.out = nn.Linear(64, 1)

    def forward(self, ids: Tensor, numbers: Tensor) -> Tensor:
        found = [table(ids[:, at]) for at, table in enumerate(self.tables)]
        return self.out(torch.relu(self.hidden(torch.cat([*found, numbers], 1)))).squeeze(1)


class Census:
    """Adult: every column but the numbers as a category, age and hours too."""

    def __init__(self) -> None:
        data = adult.load()
        features = data.features
        numeric = set(features.select_dtypes("number").columns)
        kinds = [c for c in features.columns if c not in numeric or "age" in c or "hours" in c]
        rest = [c for c in features.columns if c not in kinds]
        codes = [features[c].astype("category").cat.codes.to_numpy() + 1 for c in kinds]
        self.ids = torch.from_numpy(np.stack(codes, 1).astype(np.int64))
        numbers = features[rest].to_numpy(dtype=np.float32)
        numbers = (numbers - numbers.mean(0)) / (numbers.std(0) + 1e-6)
        self.numbers = torch.from_numpy(numbers)
        self.target = torch.from_numpy(np.asarray(data.target, dtype=np.float32))
        order = torch.randperm(len(self.target), generator=torch.Generator().manual_seed(0))
        self.train, self.held_out = order[:16_000], order[16_000:24_000]
        self.name = f"Adult ({data.source})"

    def model(self, setting: Setting) -> nn.Module:
        sizes = [int(self.ids[:, at].max()) + 1 for at in range(self.ids.shape[1])]
        return Categories(sizes, self.numbers.shape[1], setting.std)

    def epoch(self) -> list[Tensor]:
        return list(self.train[torch.randperm(len(self.train))].split(BATCH))

    def loss(self, model: nn.Module, rows: Tensor) -> Tensor:
        scores = model(self.ids[rows], self.numbers[rows])
        return nn.functional.binary_cross_entropy_with_logits(scores, self.target[rows])

    @torch.no_grad()
    def quality(self, model: nn.Module) -> dict[str, float]:
        rows = self.held_out
        scores = model(self.ids[rows], self.numbers[rows]).numpy()
        positive = self.target[rows].numpy() > 0
        ranks = stats.rankdata(scores)
        n, m = int(positive.sum()), int((~positive).sum())
        auc = (float(ranks[positive].sum()) - n * (n + 1) / 2) / (n * m)
        return {"validation_auc": auc}


class Films:
    """MovieLens-100K with a BPR loss."""

    def __init__(self) -> None:
        data = movielens.load(None)
        split = movielens.leave_one_out(data)
        self.pairs = torch.from_numpy(split.train)
        self.held_out = torch.from_numpy(split.validation)
        self.users, self.items = int(data.users.max()) + 1, int(data.items.max()) + 1
        self.name = f"MovieLens, BPR ({data.source})"

    def model(self, setting: Setting) -> nn.Module:
        model = nn.ModuleList([nn.Embedding(self.users, 16), nn.Embedding(self.items, 16)])
        for table in model:
            nn.init.normal_(table.weight, std=setting.std)  # pyright: ignore
        return model

    def epoch(self) -> list[Tensor]:
        return list(self.pairs[torch.randperm(len(self.pairs))].split(BATCH))

    def loss(self, model: Any, pairs: Tensor) -> Tensor:
        users, items = model
        user = users(pairs[:, 0])
        other = items(torch.randint(1, self.items, (len(pairs),)))
        better = (user * (items(pairs[:, 1]) - other)).sum(1)
        return -nn.functional.logsigmoid(better).mean()

    @torch.no_grad()
    def quality(self, model: Any) -> dict[str, float]:
        users, items = model
        scores = users.weight @ items.weight.T
        scores[self.pairs[:, 0], self.pairs[:, 1]] = -torch.inf
        scores[:, 0] = -torch.inf
        user, item = self.held_out.T
        target = scores[user, item].unsqueeze(1)
        rank = (~(scores[user] < target)).sum(1) - 1
        return {"validation_ndcg_at_10": float(((rank < 10) / torch.log2(rank + 2.0)).mean())}


Data = Census | Films


def train(data: Data, setting: Setting, seed: int) -> tuple[float, dict[str, Finding]]:
    """Quality at the end, and what was found."""
    torch.manual_seed(seed)
    model = data.model(setting)
    built = getattr(torch.optim, setting.optimizer)
    optimizer = built(model.parameters(), lr=setting.lr, weight_decay=setting.decay)
    quality: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        run = gradtracer.watch(
            model, optimizer=optimizer, folder=folder, publish=False, report_seconds=1e6
        )
        for _ in range(setting.epochs):
            losses: list[float] = []
            for batch in data.epoch():
                loss = data.loss(model, batch)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            quality = data.quality(model)
            run.log(loss=statistics.fmean(losses), **quality)
        run.flush()
        (tracker,) = [each for each in run.trackers if isinstance(each, TrainingTracker)]
        found = tracker.findings(tracker.figures(ended=True))
        run.finish()
    return next(iter(quality.values())), {each.type: each for each in found}


def edited(setting: Setting, type_: str, finding: Finding | None, steps: int) -> Setting:
    """The setting with the edit that a diagnosis proposes, or would have proposed."""
    given = finding.fixes[0].parameters if finding is not None else {}
    match type_:
        case "MISSING_REGULARIZATION":
            default = float(f"{3.0 / (setting.lr * steps):.1g}")
            decay = given.get("weight_decay", default)
            return replace(setting, optimizer="AdamW", decay=decay)
        case "UNDERTRAINED":
            return replace(setting, epochs=setting.epochs * int(given.get("factor", 2)))
        case _:
            return replace(setting, lr=given.get("lr", float(f"{setting.lr / 3:.1g}")))


def main() -> None:
    parser = argparse.ArgumentParser(description="What the advice on a training is worth.")
    parser.add_argument("seeds", nargs="?", type=int, default=5)
    parser.add_argument("only", nargs="*", metavar="CASE", help="beginnings of cases")
    parser.add_argument("--first", type=int, default=50, help="first seed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    makers: list[Callable[[], Data]] = [Films, Census]
    said = right = helps = told = 0
    print(f"{'data, case':<46} {'type':<24} raised  edit's gain, 95 % interval")
    for make in makers:
        data = make()
        for name, setting in CASES.items():
            if args.only and not any(name.startswith(each) for each in args.only):
                continue
            seeds = range(args.first, args.first + args.seeds)
            plain = [train(data, setting, seed) for seed in seeds]
            steps = setting.epochs * len(data.epoch())
            for type_ in TYPES:
                gains: list[float] = []
                raised = [type_ in found for _, found in plain]
                for seed, (before, found) in zip(seeds, plain, strict=True):
                    after, _ = train(data, edited(setting, type_, found.get(type_), steps), seed)
                    gains.append(after - before)
                mean = statistics.fmean(gains)
                reach = float(stats.t.ppf(0.975, len(gains) - 1)) * statistics.stdev(gains)
                reach /= len(gains) ** 0.5
                better = mean - reach > 0
                said += sum(raised)
                right += sum(raised) if mean > 0 else 0
                helps += len(raised) if better else 0
                told += sum(raised) if better else 0
                base = statistics.fmean(before for before, _ in plain)
                print(
                    f"{data.name[:24] + ', ' + name:<46} {type_:<24} {sum(raised)}/{len(raised)}   "
                    f"{base:.4f} {mean:+.4f} [{mean - reach:+.4f}, {mean + reach:+.4f}]",
                    flush=True,
                )
    print(f"\nraised {said}, of which with an edit that helps {right}")
    print(f"edits that help for sure {helps}, of which raised {told}")


if __name__ == "__main__":
    main()
