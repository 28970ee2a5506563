"""A report made block by block, against the same from whole arrays; and what memory it takes."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gradtracer.analyzers import table_figures, table_rows
from gradtracer.analyzers.table_figures import TableFigures, measure, row_saliency
from gradtracer.analyzers.table_observer import TableObserver
from gradtracer.analyzers.table_rows import live_rows, rows_of
from gradtracer.analyzers.table_state import read_state
from gradtracer.settings import Settings
from gradtracer.statistics import saliency as saliency_module
from gradtracer.statistics.peers import Followed
from gradtracer.statistics.saliency import saliency
from gradtracer.statistics.staleness import Staleness
from gradtracer.statistics.zombie_rows import zombie_rows

ROWS, PADDING = 700, 3


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Embedding, TableObserver]:
    """Zipf look-ups of 600 rows of 700; some of them wait to be counted."""
    g = torch.Generator().manual_seed(0)
    table = nn.Embedding(ROWS, 8, sparse=True, padding_idx=PADDING)
    observer = TableObserver(table.weight.detach(), track_interval=1, seed=0, padding_idx=PADDING)
    optimizer = torch.optim.SGD(table.parameters(), lr=0.05)
    law = 1.0 / torch.arange(1, 601).float() ** 0.7
    for _ in range(300):
        ids = torch.multinomial(law, 64, replacement=True, generator=g)
        signs = torch.randint(0, 2, (64, 1), generator=g) * 2.0 - 1.0
        optimizer.zero_grad()
        out = table(ids)
        observer.look_up(ids, trains=True)
        ((out - 0.5 * signs).square()).sum().backward()
        observer.before_step(table.weight, table.weight.grad)
        optimizer.step()
        observer.after_step(table.weight)
    # Some look-ups wait to be counted.
    assert int(observer.exposure.counts.sum()) < observer.look_ups
    return table, observer


def report(trained: tuple[nn.Embedding, TableObserver]) -> TableFigures:
    table, observer = trained
    return measure("t", live_rows(observer, PADDING), table.weight.detach(), Settings())


def plain(figures: TableFigures) -> dict[str, Any]:
    """Everything but where the rows are read, in lists."""
    values = figures._asdict()
    del values["table"]
    zombies = values.pop("zombies")._asdict()
    spectrum = values.pop("spectrum")._asdict()
    listed = {k: np.asarray(v).tolist() for k, v in (zombies | spectrum).items()}
    return {k: v for k, v in values.items() if k != "saliency_shares"} | listed


@pytest.mark.parametrize("block", [1, 64, 699])
def test_a_report_is_the_same_in_blocks_of_any_size(
    trained: tuple[nn.Embedding, TableObserver], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = report(trained)
    assert whole.zombies.tested > 300
    assert whole.saliency_shares is not None
    monkeypatch.setattr(table_rows, "_BLOCK", block)
    monkeypatch.setattr(table_figures, "_GATHERED", 5)
    monkeypatch.setattr(saliency_module, "_BLOCK", 11)
    found = report(trained)
    assert found.noise_energy == pytest.approx(whole.noise_energy)
    assert found.saliency_shares == pytest.approx(whole.saliency_shares)
    same = whole._replace(noise_energy=found.noise_energy)
    assert plain(found) == plain(same)


def test_a_report_by_blocks_says_what_whole_arrays_say(
    trained: tuple[nn.Embedding, TableObserver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_rows, "_BLOCK", 64)
    table, observer = trained
    state, norm = read_state(observer), table.weight.detach().square().sum(1).numpy()
    state.counts[PADDING] = state.exposures[PADDING] = 0
    averages = state.energy, state.noise, state.agreement
    array = Followed(np.arange(ROWS), state.counts, state.exposures, *averages, norm)
    truth = zombie_rows(lambda: [array], columns=64, noise_fdr=0.9, oscillation_fdr=0.9)
    settings = Settings(zombie_fdr=0.9, oscillation_fdr=0.9)
    rows = live_rows(observer, PADDING)
    found = measure("t", rows, table.weight.detach(), settings)
    assert found.zombies.rows.tolist() == truth.rows.tolist()
    assert truth.rows.size > 0
    assert (found.zombies.tested, found.zombies.unknown) == (truth.tested, truth.unknown)
    assert found.counts.tolist() == state.counts.tolist()
    assert found.never_seen.tolist() == [
        row for row in range(ROWS) if state.counts[row] == 0 and row != PADDING
    ]
    each = saliency(state.counts, state.exposures, state.energy, norm, 8)
    assert row_saliency(rows, table.weight.detach()) == pytest.approx(each, nan_ok=True, rel=1e-5)


def test_a_state_at_hand_and_a_live_one_are_read_alike(
    trained: tuple[nn.Embedding, TableObserver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_rows, "_BLOCK", 100)
    table, observer = trained
    still = measure("t", rows_of(read_state(observer), PADDING), table.weight.detach(), Settings())
    assert plain(still) == plain(report(trained))


def test_single_rows_are_read_in_any_order(
    trained: tuple[nn.Embedding, TableObserver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_rows, "_BLOCK", 100)
    look_ups = live_rows(trained[1], PADDING).look_ups
    rows = np.array([650, 0, PADDING, 99, 100, 0, 699])
    assert look_ups[rows].tolist() == look_ups.all()[rows].tolist()
    assert Staleness(ROWS, 0).observe(look_ups, 5) == Staleness(ROWS, 0).observe(look_ups.all(), 5)


def test_a_report_takes_no_array_of_the_tables_length() -> None:
    rows = 1_000_000
    weight = torch.zeros(1, 4).expand(rows, 4)
    observer = TableObserver(weight, track_interval=10, seed=0, padding_idx=None)
    observer.look_up(torch.arange(0, 40_000), trains=False)
    measure("t", live_rows(observer, None), weight, Settings())
    tracemalloc.start()
    try:
        measure("t", live_rows(observer, None), weight, Settings())
        reached = tracemalloc.get_traced_memory()[1]
        doubled = live_rows(observer, None).look_ups.all() * 2
        assert doubled.size == rows
        assert tracemalloc.get_traced_memory()[1] > 3 * rows
    finally:
        tracemalloc.stop()
    # `values` is asked for in full, and of its pages none is written.
    assert reached - 4 * rows < 1.5 * rows


@pytest.mark.parametrize("most", [0, 3, 10_000])
def test_the_first_rows_without_look_ups_are_found_block_by_block(
    most: int, trained: tuple[nn.Embedding, TableObserver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_rows, "_BLOCK", 64)
    counts = read_state(trained[1]).counts
    never = [row for row in np.flatnonzero(counts == 0).tolist() if row != PADDING]
    assert len(never) > 3
    assert live_rows(trained[1], PADDING).look_ups.none_of(most).tolist() == never[:most]
