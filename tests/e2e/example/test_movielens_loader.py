"""Where the loader looks, what it refuses, and what it says when it finds nothing."""

from __future__ import annotations

import http.server
import io
import os
import socket
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import movielens

HEADER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
TABLE = np.array(
    [[1, 10, 5, 100], [1, 20, 3, 101], [1, 30, 4, 102], [2, 10, 1, 50], [2, 30, 2, 49]]
)


def u_data(table: np.ndarray) -> str:
    return "".join("\t".join(map(str, row)) + "\n" for row in table.tolist())


def inter(table: np.ndarray) -> str:
    return HEADER + u_data(table)


@pytest.fixture
def small_table(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the small table stand for MovieLens-100K."""
    monkeypatch.setattr(movielens, "TABLE_SHA256", movielens.digest(TABLE))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


tables = hnp.arrays(
    np.int64, st.tuples(st.integers(1, 20), st.just(4)), elements=st.integers(0, 2**40)
)


@given(tables, st.sampled_from(["\n", "\r\n"]), st.randoms(use_true_random=False))
def test_both_forms_parse_to_the_same_table(table: np.ndarray, newline: str, random) -> None:
    columns = list(range(4))
    random.shuffle(columns)
    names = HEADER.rstrip("\n").split("\t")
    header = "\t".join(names[c] for c in columns) + "\n"
    shuffled = header + u_data(table[:, columns])
    assert np.array_equal(movielens.parse(u_data(table).replace("\n", newline)), table)
    assert np.array_equal(movielens.parse(shuffled.replace("\n", newline)), table)


@given(tables, st.randoms(use_true_random=False))
def test_digest_ignores_the_order_of_rows_but_not_their_content(table: np.ndarray, random) -> None:
    order = list(range(len(table)))
    random.shuffle(order)
    assert movielens.digest(table[order]) == movielens.digest(table)
    changed = table.copy()
    changed[random.randrange(len(table)), random.randrange(4)] += 1
    assert movielens.digest(changed) != movielens.digest(table)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected rows"),
        (HEADER, "expected rows"),
        ("user_id:token\titem_id:token\trating:float\n1\t2\t3\n", "got no timestamp"),
        ("1\t2\t3\n", "expected tab-separated numbers"),
        ("1,2,3,4\n", "expected tab-separated numbers"),
        ("1\t2\t3.5\t4\n", "got a fraction"),
        ("1\t2\tnan\t4\n", "got a fraction or a number that is not finite"),
        ("<html>\n", "expected tab-separated numbers"),
    ],
)
def test_text_that_is_no_table_is_refused_with_what_was_expected(text: str, expected: str) -> None:
    with pytest.raises(movielens.DataError, match=expected):
        movielens.parse(text)


@pytest.mark.usefixtures("small_table")
class TestOrder:
    """Explicit path, GRADTRACER_DATA, cache, publisher, generated."""

    @pytest.mark.parametrize("name", ["ml-100k/ml-100k.inter", "ml-100k/u.data"])
    def test_explicit_folder_or_file_comes_first(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        text = inter(TABLE) if name.endswith("inter") else u_data(TABLE)
        mine = write(tmp_path / "mine" / name, text)
        write(tmp_path / "other" / name, text)
        monkeypatch.setenv("GRADTRACER_DATA", str(tmp_path / "other"))
        for given_path in (mine, mine.parent, mine.parent.parent):
            assert movielens.load(given_path).source == str(mine)

    def test_environment_comes_before_cache(
        self, tmp_path: Path, bare_machine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cached = write(bare_machine / "ml-100k" / "u.data", u_data(TABLE))
        assert movielens.load().source == str(cached)
        named = write(tmp_path / "data" / "ml-100k" / "ml-100k.inter", inter(TABLE))
        monkeypatch.setenv("GRADTRACER_DATA", str(tmp_path / "data"))
        loaded = movielens.load()
        assert loaded.source == str(named)
        assert np.array_equal(loaded.items, TABLE[:, 1])

    def test_wrong_digest_at_an_explicit_path_is_an_error_with_both_digests(
        self, tmp_path: Path
    ) -> None:
        changed = TABLE + np.array([0, 0, 1, 0])
        path = write(tmp_path / "u.data", u_data(changed))
        with pytest.raises(movielens.DataError) as caught:
            movielens.load(path)
        message = str(caught.value)
        assert str(path) in message
        assert f"expected table sha256 {movielens.digest(TABLE)}" in message
        assert f"got {movielens.digest(changed)}" in message

    def test_wrong_digest_elsewhere_is_named_and_passed_over(
        self,
        tmp_path: Path,
        bare_machine: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        wrong = write(tmp_path / "data" / "ml-100k" / "u.data", u_data(TABLE[1:]))
        monkeypatch.setenv("GRADTRACER_DATA", str(tmp_path / "data"))
        cached = write(bare_machine / "ml-100k" / "u.data", u_data(TABLE))
        assert movielens.load().source == str(cached)
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1
        assert f"passing over {wrong}" in said[0]

    @pytest.mark.parametrize("name", ["absent", "absent.inter"])
    def test_explicit_path_that_does_not_exist_is_an_error(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(movielens.DataError, match="absent"):
            movielens.load(tmp_path / name)

    def test_explicit_folder_without_the_files_names_them(self, tmp_path: Path) -> None:
        with pytest.raises(movielens.DataError, match=r"ml-100k\.inter or ml-100k/u\.data"):
            movielens.load(tmp_path)

    def test_file_that_is_not_text_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "u.data"
        path.write_bytes(b"PK\x03\x04\xff\xfe")
        with pytest.raises(movielens.DataError, match=r"u\.data"):
            movielens.load(path)


class Publisher(http.server.ThreadingHTTPServer):
    """A site with one body for every address."""

    body = b""
    requests = 0


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Publisher)
        self.server.requests += 1
        self.send_response(200 if self.server.body else 404)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def publisher(small_table: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    monkeypatch.delenv("GRADTRACER_OFFLINE")
    monkeypatch.setenv("no_proxy", "*")
    with Publisher(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def address(server: Publisher) -> str:
    return f"http://127.0.0.1:{server.server_port}/ml-100k.zip"


def archive(name: str, text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(name, text)
    return buffer.getvalue()


def test_download_is_checked_cached_and_not_repeated(
    publisher: Publisher, bare_machine: Path
) -> None:
    publisher.body = archive("ml-100k/u.data", u_data(TABLE))
    for _ in range(2):
        loaded = movielens.load(url=address(publisher))
        assert loaded.source == str(bare_machine / "ml-100k" / "u.data")
    assert publisher.requests == 1
    assert [path.name for path in (bare_machine / "ml-100k").iterdir()] == ["u.data"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "404"),
        (b"<html>sign in to this network</html>", "expected an archive"),
        (archive("elsewhere", ""), "expected an archive"),
        (archive("ml-100k/u.data", u_data(TABLE[1:])), "expected table sha256"),
    ],
)
def test_bad_download_leaves_no_file_and_falls_back_to_the_generated_set(
    publisher: Publisher,
    bare_machine: Path,
    capsys: pytest.CaptureFixture[str],
    body: bytes,
    reason: str,
) -> None:
    publisher.body = body
    assert movielens.load(url=address(publisher)).source.startswith("generated set")
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert reason in said[0]
    assert address(publisher) in said[0]
    assert not [path for path in bare_machine.rglob("*") if path.is_file()]


def test_download_into_an_unwritable_cache_falls_back(
    publisher: Publisher, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publisher.body = archive("ml-100k/u.data", u_data(TABLE))
    blocked = write(tmp_path / "file", "")
    loaded = movielens.load(url=address(publisher), cache=blocked)
    assert loaded.source.startswith("generated set")
    assert str(blocked) in capsys.readouterr().err


@pytest.mark.usefixtures("small_table")
def test_site_that_never_answers_is_given_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GRADTRACER_OFFLINE")
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        loaded = movielens.load(url=f"http://127.0.0.1:{port}/", timeout=0.2)
    assert loaded.source.startswith("generated set")
    assert "\n" not in capsys.readouterr().err.rstrip("\n")


@pytest.mark.usefixtures("bare_machine")
def test_generated_set_says_so_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert movielens.load().source == "generated set (seed 0)"
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "GRADTRACER_OFFLINE" in said
    assert "generated set" in said
    assert "--data" in said


def test_generated_set_is_deterministic_by_seed() -> None:
    one, same, other = (movielens.generate(seed) for seed in (0, 0, 1))
    for name in ("users", "items", "ratings", "timestamps", "dead_items"):
        assert np.array_equal(getattr(one, name), getattr(same, name))
    assert not np.array_equal(one.items, other.items)


def test_generated_set_has_the_shape_of_movielens_and_its_planted_faults() -> None:
    drawn = movielens.generate()
    assert 95_000 <= len(drawn) <= 105_000
    assert len(np.unique(drawn.users)) == 943
    assert np.bincount(drawn.users)[1:].min() >= 20
    assert drawn.items.min() >= 1
    assert drawn.items.max() <= 1682
    assert len(np.unique(np.stack([drawn.users, drawn.items]), axis=1).T) == len(drawn)
    assert len(drawn.dead_items) == len(drawn.contradictory_items) == 33
    assert not np.isin(drawn.items, drawn.dead_items).any()
    assert np.isin(drawn.contradictory_items, drawn.items).all()
    counts = np.sort(np.bincount(drawn.items))[::-1]
    assert counts[:168].sum() > 0.3 * len(drawn)


def test_real_set_has_the_recorded_digest() -> None:
    folder = os.environ.get("GRADTRACER_DATA")
    if not folder or not (Path(folder) / "ml-100k" / "ml-100k.inter").is_file():
        pytest.skip("GRADTRACER_DATA names no folder with ml-100k/ml-100k.inter")
    loaded = movielens.load(folder)
    assert len(loaded) == 100_000
    assert (loaded.users.max(), loaded.items.max()) == (943, 1682)
