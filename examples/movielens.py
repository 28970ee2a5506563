"""MovieLens-100K for the examples: found, checked, read, and split leave-one-out.

`load` looks at an explicit path, `GRADTRACER_DATA`, the user's cache folder and the publisher's
site, in this order. Whatever the form (RecBole's `ml-100k.inter` or GroupLens' `u.data`), the
table must have the one digest below. Where none can be had, a generated set serves, and a line on
stderr says so. MovieLens may be used for research but not redistributed: https://grouplens.org.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import sys
import tempfile
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

Array = np.ndarray
Table = TypeVar("Table")

URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
TABLE_SHA256 = "6cfffb52c89b05fbc3afb75f6912eeda04c81c2add0dc58e773a0ef6c8adb160"
"""Digest of the rows `user item rating timestamp` as integers, tab-separated, sorted."""
FORMS = ("ml-100k/ml-100k.inter", "ml-100k/u.data")
COLUMNS = ("user_id", "item_id", "rating", "timestamp")


class DataError(Exception):
    """A file that is not MovieLens-100K, or cannot be read as such."""


@dataclass(frozen=True)
class Interactions:
    """One row per rating; ids are the publisher's own and start at 1."""

    users: Array
    items: Array
    ratings: Array
    timestamps: Array
    source: str
    """Where the rows came from, for people."""
    dead_items: Array = field(default_factory=lambda: np.empty(0, np.int64))
    """Generated set only: items of the catalogue that nobody ever meets."""
    contradictory_items: Array = field(default_factory=lambda: np.empty(0, np.int64))
    """Generated set only: items whose users were drawn without regard to taste."""

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True)
class Split:
    """Leave-one-out: pairs `[n, 2]` of user and item."""

    train: Array
    validation: Array
    """The second-last interaction of each user."""
    test: Array
    """The last interaction of each user."""


def load(
    path: str | Path | None = None,
    *,
    seed: int = 0,
    cache: Path | None = None,
    url: str = URL,
    timeout: float = 10.0,
) -> Interactions:
    """Return MovieLens-100K from the first place that has it, else the generated set.

    A wrong file at an explicit `path` raises `DataError`; at the other places it is named on
    stderr and passed over. `GRADTRACER_OFFLINE=1` leaves the network alone.
    """
    found = first_place(
        "movielens",
        FORMS,
        read,
        lambda cache: read(_download(url, cache, timeout)),
        path=path,
        cache=cache,
        missing="no MovieLens-100K to be had ({}): training on a generated set of the same size",
    )
    return generate(seed) if found is None else found


def first_place(
    name: str,
    forms: Sequence[str],
    read: Callable[[Path], Table],
    download: Callable[[Path], Table],
    *,
    path: str | Path | None,
    cache: Path | None,
    missing: str,
) -> Table | None:
    """A data set from the first place that has it, with what is passed over on stderr.

    `name` begins each line, `forms` are its files below a folder, `download` saves into a cache;
    `missing`, with the reason for `{}`, says what serves instead: None is returned then.
    """
    if path is not None:
        return read(_file_at(Path(path), forms))
    cache = cache_folder() if cache is None else cache
    for file in _candidates(name, forms, cache):
        try:
            return read(file)
        except DataError as error:
            _say(name, f"passing over {error}")
    if os.environ.get("GRADTRACER_OFFLINE", "") not in ("", "0"):
        reason = "GRADTRACER_OFFLINE is set"
    else:
        try:
            return download(cache)
        except (DataError, OSError) as error:
            reason = str(error)
    _say(
        name,
        f"{missing.format(reason)}; pass --data PATH or set GRADTRACER_DATA to use your copy",
    )
    return None


def read(path: Path) -> Interactions:
    """Read either form and check the table's digest."""
    try:
        table = parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, DataError) as error:
        raise DataError(f"{path}: {error}") from error
    if (got := digest(table)) != TABLE_SHA256:
        raise DataError(
            f"{path}: not MovieLens-100K: expected table sha256 {TABLE_SHA256}, got {got}"
        )
    return Interactions(*table.T, source=str(path))


def parse(text: str) -> Array:
    """Return int64 `[n, 4]` from tab-separated rows, with RecBole's typed header or without."""
    order = list(range(4))
    first, _, rest = text.partition("\n")
    if ":" in first:
        names = [name.partition(":")[0] for name in first.rstrip("\r").split("\t")]
        if missing := [name for name in COLUMNS if name not in names]:
            raise DataError(f"expected the columns {', '.join(COLUMNS)}, got no {missing[0]}")
        order, text = [names.index(name) for name in COLUMNS], rest
    if not text.strip():
        raise DataError("expected rows, got an empty table")
    try:
        table = np.loadtxt(io.StringIO(text), delimiter="\t", usecols=order, ndmin=2)
    except ValueError as error:
        raise DataError(f"expected tab-separated numbers: {error}") from error
    if not (np.isfinite(table).all() and (table == np.rint(table)).all()):
        raise DataError("expected whole numbers, got a fraction or a number that is not finite")
    return table.astype(np.int64)


def digest(table: Array) -> str:
    """Return the sha256 of the sorted rows, the same for both forms and any order."""
    rows = table[np.lexsort(table.T[::-1])]
    text = "".join("\t".join(map(str, row)) + "\n" for row in rows.tolist())
    return hashlib.sha256(text.encode()).hexdigest()


def leave_one_out(interactions: Interactions) -> Split:
    """Hold out each user's last interaction for test and the one before for validation.

    Rows with one timestamp keep the file's order. Users with fewer than three stay in training.
    """
    order = np.lexsort((interactions.timestamps, interactions.users))
    pairs = np.stack([interactions.users, interactions.items], axis=1)[order]
    _, start, counts = np.unique(pairs[:, 0], return_index=True, return_counts=True)
    last = (start + counts - 1)[counts >= 3]
    held_out = np.zeros(len(pairs), bool)
    held_out[last] = held_out[last - 1] = True
    return Split(train=pairs[~held_out], validation=pairs[last - 1], test=pairs[last])


def generate(
    seed: int = 0, *, users: int = 943, items: int = 1682, interactions: int = 100_000
) -> Interactions:
    """Draw a set of MovieLens' size: Zipf exposure, a planted taste space, planted faults.

    2 % of the items are never met, and 2 % are met without regard to taste: both are named in
    the result, so that a detector can be judged against them.
    """
    rng = np.random.default_rng(seed)
    faulty = rng.permutation(items)[: 2 * (items // 50)]
    dead, contradictory = np.split(faulty, 2)
    taste = rng.normal(size=(users, 8))
    traits = rng.normal(size=(items, 8))
    traits[contradictory] = 0
    popularity = -2.0 * np.log(rng.permutation(items) + 60.0)
    popularity[dead] = -np.inf
    activity = rng.lognormal(0.0, 0.9, users)
    length = np.clip(interactions * activity / activity.sum(), 20, items // 2).astype(int)
    # Gumbel keys: the largest of a user's keys are a draw without replacement
    affinity = 0.6 * taste @ traits.T
    keys = popularity + affinity + rng.gumbel(size=(users, items))
    ranked = np.argsort(-keys, axis=1)
    user = np.repeat(np.arange(users), length)
    item = np.concatenate([ranked[u, :n] for u, n in enumerate(length)])
    rating = np.clip(np.rint(3.5 + affinity[user, item] + rng.normal(size=len(user))), 1, 5)
    timestamp = 880_000_000 + rng.permutation(len(user))
    return Interactions(
        users=user + 1,
        items=item + 1,
        ratings=rating.astype(np.int64),
        timestamps=timestamp,
        source=f"generated set (seed {seed})",
        dead_items=np.sort(dead) + 1,
        contradictory_items=np.sort(contradictory) + 1,
    )


def cache_folder() -> Path:
    """Return the folder for downloads where this platform keeps a user's caches."""
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "gradtracer"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "gradtracer"
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache") / "gradtracer"


def _file_at(path: Path, forms: Sequence[str]) -> Path:
    if not path.is_dir():
        return path
    inside = [path / form for form in forms] + [path / Path(form).name for form in forms]
    for file in inside:
        if file.is_file():
            return file
    raise DataError(f"{path}: expected a folder with {' or '.join(forms)}, got neither")


def _candidates(name: str, forms: Sequence[str], cache: Path) -> Iterator[Path]:
    if folder := os.environ.get("GRADTRACER_DATA"):
        try:
            yield _file_at(Path(folder), forms)
        except DataError as error:
            _say(name, f"GRADTRACER_DATA: passing over {error}")
    for form in forms:
        if (cache / form).is_file():
            yield cache / form


def _download(url: str, cache: Path, timeout: float) -> Path:
    """Fetch the archive and save its `u.data` in the cache, whole or not at all."""
    try:
        with zipfile.ZipFile(io.BytesIO(fetch(url, timeout))) as archive:
            content = archive.read("ml-100k/u.data")
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"{url}: expected an archive with ml-100k/u.data: {error}") from error
    target = cache / "ml-100k" / "u.data"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as part:
        part.write(content)
    try:
        read(Path(part.name))
        Path(part.name).replace(target)
    except DataError as error:
        raise DataError(str(error).replace(part.name, url)) from error
    finally:
        Path(part.name).unlink(missing_ok=True)
    return target


def fetch(url: str, timeout: float) -> bytes:
    """Return the body; give up when nothing answers within `timeout`, name resolution included."""
    answered = threading.Event()
    bodies: list[bytes] = []
    failures: list[str] = []

    def work() -> None:
        try:
            with urllib.request.urlopen(url, timeout=timeout) as response:
                answered.set()
                bodies.append(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            failures.append(str(error) or type(error).__name__)
            if isinstance(error, urllib.error.HTTPError):
                error.close()
        finally:
            answered.set()

    # a daemon thread, because a resolver that hangs heeds no timeout
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    if answered.wait(timeout):
        thread.join(timeout=12 * timeout)
    if not bodies:
        reason = failures[0] if failures else f"no answer within {timeout:g} s"
        raise DataError(f"{url}: {reason}")
    return bodies[0]


def _say(name: str, line: str) -> None:
    print(f"{name}: {line}", file=sys.stderr)
