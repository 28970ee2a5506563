"""Is the advice on the training right? Each proposed edit is made, and its effect measured.

    python tests/bench/bench_advice.py [SEEDS] [CASE ...] [--data films ratings ...] [--types ...]

Trainings that the tests were not designed on: matrix factorisation with a BPR loss on
MovieLens-100K (films) and with a squared loss on generated ratings, a network over embedded
categories on Adult census, and networks on what scikit-learn brings along (digits, diabetes,
cancer), each as it should be and with one fault planted. What is raised is compared with what the
edit is worth on held-out examples (NDCG@10, R2, AUC, accuracy), paired over seeds: advice is right
where the mean rises. A fault that goes unsaid although its edit would help is a miss. The advice on
the rate is about the training loss: that is compared, too.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
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
SMALL_BATCH = 64


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
    "start of 1, rate / 3": Setting("Adam", 3e-3, 0.0, std=1.0),
    "start of 1, rate / 10": Setting("Adam", 1e-3, 0.0, std=1.0),
    "start of 1, SGD": Setting("SGD", 0.1, 0.0, std=1.0),
    "no decay": Setting("Adam", decay=0.0),
    "a tenth of the epochs": Setting(epochs=2),
    "a third of the epochs": Setting(epochs=7),
    "half of the epochs": Setting(epochs=10),
    "twice the epochs": Setting(epochs=40),
    "rate x 10": Setting("Adam", 0.03, 0.0),
    "rate x 30": Setting("Adam", 0.1, 0.0),
    "SGD": Setting("SGD", 0.1, 0.0),
    "SGD, rate x 10": Setting("SGD", 1.0, 0.0),
}


class Categories(nn.Module):
    """A network over the embeddings of categorical columns."""

    def __init__(self, sizes: list[int], numbers: int, std: float) -> None:
        super().__init__()
        tables = [nn.Embedding(size, 8) for size in sizes]
        for table in tables:
            nn.init.normal_(table.weight, std=std)
        self.tables = nn.ModuleList(tables)
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


class Ratings:
    """Generated: `y = a_u . b_i + noise` with four directions, 40 ratings a user."""

    def __init__(self) -> None:
        g = torch.Generator().manual_seed(0)
        self.users, self.items, count = 300, 200, 12_000
        user, item = (
            torch.randn(self.users, 4, generator=g),
            torch.randn(self.items, 4, generator=g),
        )
        self.pairs = torch.stack(
            [torch.randint(n, (count,), generator=g) for n in (self.users, self.items)], 1
        )
        exact = (user[self.pairs[:, 0]] * item[self.pairs[:, 1]]).sum(1)
        self.target = exact + 0.5 * torch.randn(count, generator=g)
        self.train, self.held_out = torch.arange(9_600), torch.arange(9_600, count)
        self.name = "generated ratings"

    def model(self, setting: Setting) -> nn.Module:
        model = nn.ModuleList([nn.Embedding(self.users, 8), nn.Embedding(self.items, 8)])
        for table in model:
            nn.init.normal_(table.weight, std=setting.std)  # pyright: ignore
        return model

    def epoch(self) -> list[Tensor]:
        return list(self.train[torch.randperm(len(self.train))].split(128))

    def loss(self, model: Any, rows: Tensor) -> Tensor:
        users, items = model
        scores = (users(self.pairs[rows, 0]) * items(self.pairs[rows, 1])).sum(1)
        return (scores - self.target[rows]).square().mean()

    @torch.no_grad()
    def quality(self, model: Any) -> dict[str, float]:
        target = self.target[self.held_out]
        return {"validation_r2": 1 - float(self.loss(model, self.held_out) / target.var())}


class Bundled:
    """A data set of scikit-learn and a network of two hidden layers; three quarters to train on."""

    def __init__(self, name: str) -> None:
        from sklearn import datasets

        loader: Any = getattr(datasets, f"load_{name}")
        x, y = loader(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(x))
        x, y = x[order].astype(np.float32), y[order]
        self.x = torch.from_numpy((x - x.mean(0)) / (x.std(0) + 1e-6))
        self.classes = 0 if name == "diabetes" else int(y.max()) + 1
        y = y if self.classes else (y - y.mean()) / y.std()
        self.y = torch.from_numpy(y.astype(np.int64 if self.classes else np.float32))
        cut = 3 * len(x) // 4
        self.train, self.held_out = torch.arange(cut), torch.arange(cut, len(x))
        self.name = name

    def model(self, setting: Setting) -> nn.Module:
        inputs, outputs = self.x.shape[1], self.classes or 1
        parts = [nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU()]
        return nn.Sequential(*parts, nn.Linear(32, outputs))

    def epoch(self) -> list[Tensor]:
        return list(self.train[torch.randperm(len(self.train))].split(SMALL_BATCH))

    def loss(self, model: nn.Module, rows: Tensor) -> Tensor:
        scores = model(self.x[rows])
        if self.classes:
            return nn.functional.cross_entropy(scores, self.y[rows])
        return nn.functional.mse_loss(scores.squeeze(1), self.y[rows])

    @torch.no_grad()
    def quality(self, model: nn.Module) -> dict[str, float]:
        scores, target = model(self.x[self.held_out]), self.y[self.held_out]
        if self.classes:
            return {"validation_accuracy": float((scores.argmax(1) == target).float().mean())}
        rest = nn.functional.mse_loss(scores.squeeze(1), target) / target.var()
        return {"validation_r2": 1 - float(rest)}


Data = Census | Films | Ratings | Bundled

DATA: dict[str, Callable[[], Data]] = {
    "films": Films,
    "ratings": Ratings,
    "census": Census,
    "digits": partial(Bundled, "digits"),
    "diabetes": partial(Bundled, "diabetes"),
    "cancer": partial(Bundled, "breast_cancer"),
}


@dataclass
class Trained:
    """How a training ended."""

    quality: float
    loss: float
    """Of the last epoch."""
    found: dict[str, Finding]


def train(data: Data, setting: Setting, seed: int) -> Trained:
    """Train once, watched as a user does."""
    torch.manual_seed(seed)
    model = data.model(setting)
    built = getattr(torch.optim, setting.optimizer)
    optimizer = built(model.parameters(), lr=setting.lr, weight_decay=setting.decay)
    quality: dict[str, float] = {}
    last = math.nan
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
            last = statistics.fmean(losses)
            run.log(loss=last, **quality)
        run.flush()
        (tracker,) = [each for each in run.trackers if isinstance(each, TrainingTracker)]
        found = tracker.findings(tracker.figures(ended=True))
        run.finish()
    return Trained(next(iter(quality.values())), last, {each.type: each for each in found})


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


@dataclass
class Tally:
    """Of one type, over all cases."""

    said: int = 0
    right: int = 0
    helps: int = 0
    told: int = 0
    loss_fell: int = 0
    """Of those said, where the training loss of the last epoch fell by the edit."""


def compare(
    data: Data, name: str, setting: Setting, type_: str, plain: dict[int, Trained]
) -> Tally:
    """Make one type's edit in every training, and print a line."""
    steps = setting.epochs * len(data.epoch())
    raised = [type_ in each.found for each in plain.values()]
    edits = {
        seed: train(data, edited(setting, type_, each.found.get(type_), steps), seed)
        for seed, each in plain.items()
    }
    gains = [edits[seed].quality - each.quality for seed, each in plain.items()]
    falls = [each.loss - edits[seed].loss for seed, each in plain.items()]
    mean = statistics.fmean(gains)
    reach = (
        float(stats.t.ppf(0.975, len(gains) - 1)) * float(np.std(gains, ddof=1)) / len(gains) ** 0.5
    )
    better = mean - reach > 0
    base = statistics.fmean(each.quality for each in plain.values())
    print(
        f"{data.name[:24] + ', ' + name:<46} {type_:<24} {sum(raised)}/{len(raised)}   {base:.4f} "
        f"{mean:+.4f} [{mean - reach:+.4f}, {mean + reach:+.4f}]   "
        f"{statistics.fmean(each.loss for each in plain.values()):.4f} "
        f"{-statistics.fmean(falls):+.4f}",
        flush=True,
    )
    return Tally(
        said=sum(raised),
        right=sum(raised) if mean > 0 else 0,
        helps=len(raised) if better else 0,
        told=sum(raised) if better else 0,
        loss_fell=sum(said and fall > 0 for said, fall in zip(raised, falls, strict=True)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="What the advice on a training is worth.")
    parser.add_argument("seeds", nargs="?", type=int, default=5)
    parser.add_argument("only", nargs="*", metavar="CASE", help="beginnings of cases")
    parser.add_argument("--first", type=int, default=50, help="first seed")
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--types", nargs="+", choices=TYPES, default=list(TYPES))
    args = parser.parse_args()
    torch.set_num_threads(1)
    tallies = {type_: Tally() for type_ in args.types}
    print(
        f"{'data, case':<46} {'type':<24} raised  held out, gain of the edit, 95 % interval; "
        "training loss, change"
    )
    for chosen in args.data:
        data = DATA[chosen]()
        for name, setting in CASES.items():
            if args.only and not any(name.startswith(each) for each in args.only):
                continue
            seeds = range(args.first, args.first + args.seeds)
            plain = {seed: train(data, setting, seed) for seed in seeds}
            for type_, tally in tallies.items():
                new = compare(data, name, setting, type_, plain)
                for field, value in vars(new).items():
                    setattr(tally, field, getattr(tally, field) + value)
    print()
    for type_, tally in tallies.items():
        print(
            f"{type_}: raised {tally.said}, of which with an edit that helps {tally.right}, that "
            f"lowers the training loss {tally.loss_fell}; edits that help for sure {tally.helps}, "
            f"of which raised {tally.told}"
        )


if __name__ == "__main__":
    main()
