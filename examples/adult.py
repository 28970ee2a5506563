"""Adult census income for the examples: found, checked, read and split.

`load` looks at an explicit path, `GRADTRACER_DATA`, the user's cache folder and the publisher's
site (UCI, CC BY 4.0), in this order. Whatever the form (`adult.csv` with a header or UCI's
`adult.data`), the complete rows must have the one digest below. Where none can be had, the breast
cancer set that scikit-learn brings serves, and a line on stderr says so.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from movielens import DataError, fetch, first_place

URL = "https://archive.ics.uci.edu/ml/machine-learning-databases/adult/adult.data"
TABLE_SHA256 = "430ec16ef6d65c5e507bfecf5b35790fe75ba9acf0317dc20f098030d49c6bcd"
"""Digest of the complete rows, comma-separated, sorted."""
FORMS = ("adult/adult.csv", "adult/adult.data")
COLUMNS = [
    "age", "workclass", "fnlwgt", "education", "education_num", "marital", "occupation",
    "relationship", "race", "sex", "capital_gain", "capital_loss", "hours_per_week", "country",
    "income",
]  # fmt: skip
NUMBERS = ["age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week"]


@dataclass(frozen=True)
class Census:
    """Examples, and whether each earns more than 50,000 a year."""

    features: pd.DataFrame
    """Numbers, and categories as pandas keeps them."""
    target: np.ndarray
    """1 for more than 50,000."""
    source: str
    """Where the rows came from, for people."""

    @property
    def categorical(self) -> list[str]:
        """Names of the columns that are categories."""
        return list(self.features.select_dtypes("category").columns)

    def split(self, seed: int) -> tuple[Census, Census]:
        """Four fifths for training and the rest for validation, at random."""
        order = np.random.default_rng(seed).permutation(len(self.target))
        cut = len(order) * 4 // 5
        parts = (order[:cut], order[cut:])
        train, valid = (
            Census(self.features.iloc[part], self.target[part], self.source) for part in parts
        )
        return train, valid


def load(
    path: str | Path | None = None,
    *,
    cache: Path | None = None,
    url: str = URL,
    timeout: float = 10.0,
) -> Census:
    """Return Adult from the first place that has it, else scikit-learn's breast cancer set.

    A wrong file at an explicit `path` raises `DataError`; at the other places it is named on
    stderr and passed over. `GRADTRACER_OFFLINE=1` leaves the network alone.
    """
    found = first_place(
        "adult",
        FORMS,
        read,
        lambda cache: _download(url, cache, timeout),
        path=path,
        cache=cache,
        missing="no Adult census to be had ({}): training on scikit-learn's breast cancer set",
    )
    return bundled() if found is None else found


def read(path: Path) -> Census:
    """Read either form and check the rows' digest."""
    try:
        return parse(path.read_bytes(), str(path))
    except OSError as error:
        raise DataError(f"{path}: {error}") from error


def parse(content: bytes, source: str) -> Census:
    """The complete rows of either form. Raises `DataError` for any other table."""
    try:
        text = content.decode("utf-8")
        headed = text.startswith("age,")
        table = pd.read_csv(
            io.StringIO(text),
            header=0 if headed else None,
            names=COLUMNS,
            dtype=str,
            skipinitialspace=True,
        )
    except (UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{source}: not a table of {len(COLUMNS)} columns: {error}") from error
    table = table.dropna()
    table = table[~table.eq("?").any(axis=1)]
    if (got := digest(table)) != TABLE_SHA256:
        raise DataError(f"{source}: not Adult: expected table sha256 {TABLE_SHA256}, got {got}")
    features = table.drop(columns="income")
    for name in features:
        kind = "float64" if name in NUMBERS else "category"
        features[name] = features[name].astype(kind)
    target = (table["income"] == ">50K").to_numpy().astype(int)
    return Census(features.reset_index(drop=True), target, source)


def digest(table: pd.DataFrame) -> str:
    """The sha256 of the sorted rows, the same for both forms and any order."""
    lines = sorted(",".join(row) for row in table.astype(str).to_numpy().tolist())
    return hashlib.sha256(("\n".join(lines) + "\n").encode()).hexdigest()


def bundled() -> Census:
    """The breast cancer set of scikit-learn; it has no categories."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer(as_frame=True)
    features = data.data.rename(columns=lambda name: name.replace(" ", "_"))
    return Census(features, data.target.to_numpy(), "scikit-learn's breast cancer set")


def _download(url: str, cache: Path, timeout: float) -> Census:
    """Fetch the table, check it, and keep it in the cache."""
    content = fetch(url, timeout)
    census = parse(content, url)
    target = cache / "adult" / "adult.data"
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    part.write_bytes(content)
    part.replace(target)
    return census
