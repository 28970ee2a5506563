"""Saliency against a plain loop, and against what the loss really does without each row."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gradtracer.analyzers.table_figures import row_saliency
from gradtracer.analyzers.table_observer import TableObserver
from gradtracer.analyzers.table_rows import live_rows
from gradtracer.statistics.saliency import saliency, saliency_shares

DIM = 4


def slow_shares(values: list[float]) -> tuple[float, float]:
    known = sorted((v for v in values if not math.isnan(v)), reverse=True)
    total, top = sum(known), -(-len(known) // 100)
    held, rows = 0.0, 0
    while held < 0.99 * total:
        held, rows = held + known[rows], rows + 1
    return sum(known[:top]) / total, rows / len(known)


def test_saliency_is_the_rise_of_the_loss_when_a_row_is_set_to_zero() -> None:
    # Squared error around the truth, noise of variance 1: there Hessian and Fisher information are
    # the same. Four coordinates are followed without loss.
    g = torch.Generator().manual_seed(0)
    table = nn.Embedding(40, DIM)
    with torch.no_grad():
        table.weight.mul_(
            torch.linspace(0.2, 2.0, 40)[torch.randperm(40, generator=g)].unsqueeze(1)
        )
    law = 1.0 / torch.arange(1, 41)
    observer = TableObserver(table.weight.detach(), track_interval=1, seed=0, padding_idx=None)
    rise = torch.zeros(40)
    for _ in range(4_000):
        ids = torch.multinomial(law, 8, replacement=True, generator=g)
        x = torch.randn(8, DIM, generator=g)
        x *= math.sqrt(DIM) / x.norm(dim=1, keepdim=True)
        noise = torch.randint(0, 2, (8,), generator=g) * 2.0 - 1.0
        table.zero_grad()
        product = (table(ids) * x).sum(1)
        (0.5 * (product - product.detach() + noise).square()).sum().backward()
        rise.index_add_(0, ids, 0.5 * ((noise - product.detach()).square() - 1.0))
        observer.look_up(ids, trains=True)
        observer.before_step(table.weight, table.weight.grad)
    observer.count_pending()
    found = row_saliency(live_rows(observer, None), table.weight.detach())
    assert found.dtype == np.float32
    ratio = found / (2 * rise.numpy())
    assert np.median(ratio) == pytest.approx(1.0, abs=0.05)
    assert np.abs(np.log(ratio)).max() < 0.7
    assert np.corrcoef(np.log(found), np.log(rise.numpy()))[0, 1] > 0.98


def test_each_row_is_the_product_that_a_loop_gives() -> None:
    look_ups = np.array([3, 5, 7, 0, 2])
    exposures = np.array([3, 2, 1, 0, 2], dtype=np.int16)
    energy = np.array([0.5, 2.0, 0.0, 0.0, 1e37], dtype=np.float32)
    squared_norm = np.array([4.0, 0.25, 1.0, 1.0, 1e30], dtype=np.float32)
    found = saliency(look_ups, exposures, energy, squared_norm, 8)
    assert found[:2].tolist() == [3 * 0.5 * 4.0 / 8, 5 * 2.0 * 0.25 / 8]
    assert np.isnan(found[2:]).all()


@given(st.lists(st.sampled_from([0.0, 0.01, 1.0, 7.0, 900.0, math.nan]), min_size=1, max_size=300))
def test_shares_equal_those_of_a_plain_loop(values: list[float]) -> None:
    found = saliency_shares(np.array(values, dtype=np.float32))
    if not any(v > 0 for v in values):
        assert found is None
        return
    assert found is not None
    top, rows = slow_shares(np.array(values, dtype=np.float32).astype(float).tolist())
    assert found.top == pytest.approx(top)
    known = sum(not math.isnan(v) for v in values)
    assert abs(found.rows_99 - rows) * known <= 1 + 1e-9


def test_rows_all_alike_hold_their_own_share() -> None:
    found = saliency_shares(np.ones(1_000, dtype=np.float32))
    assert found == pytest.approx((0.01, 0.99))


def test_a_table_without_a_known_row_has_no_shares() -> None:
    assert saliency_shares(np.zeros(0, dtype=np.float32)) is None
    assert saliency_shares(np.full(3, np.nan, dtype=np.float32)) is None
