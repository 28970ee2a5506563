"""Narrowed tables give the best scores of their rank, as a plain SVD of all scores shows."""

from __future__ import annotations

import pytest
import torch

from gradtracer.compression.factorisation import gram, groups, joint_maps, lost_share, table_map


def tables(*rows: int, dim: int = 12) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    spread = torch.logspace(0, -2, dim)
    return [
        torch.randn(n, dim, generator=g) @ torch.randn(dim, dim, generator=g) * spread for n in rows
    ]


@pytest.mark.parametrize("rank", [1, 4, 12])
def test_two_tables_keep_the_best_product_of_the_rank(rank: int) -> None:
    U, V = tables(50, 70)
    A, B = joint_maps([gram(U), gram(V)], [[1], [0]], rank)
    assert A.shape == B.shape == (12, rank)
    P, singular, Qt = torch.linalg.svd(U.double() @ V.double().T, full_matrices=False)
    best = P[:, :rank] * singular[:rank] @ Qt[:rank]
    assert torch.allclose((U.double() @ A) @ (V.double() @ B).T, best, atol=1e-5)
    lost = 1 - float((best**2).sum() / (singular**2).sum())
    assert lost_share([gram(U), gram(V)], [A, B]) == pytest.approx(lost, abs=1e-6)


def test_a_rank_that_the_tables_have_loses_nothing() -> None:
    g = torch.Generator().manual_seed(1)
    U = torch.randn(40, 3, generator=g) @ torch.randn(3, 8, generator=g)
    V = torch.randn(30, 8, generator=g)
    A, B = joint_maps([gram(U), gram(V)], [[1], [0]], 3)
    assert torch.allclose((U.double() @ A) @ (V.double() @ B).T, (U @ V.T).double(), atol=1e-4)


def test_tables_on_one_side_share_a_map() -> None:
    U, V, W = tables(20, 30, 25)
    A, B, C = joint_maps([gram(U), gram(V), gram(W)], [[2], [2], [0, 1]], 5)
    assert torch.equal(A, B)
    stacked = torch.cat([U, V]).double()
    P, singular, Qt = torch.linalg.svd(stacked @ W.double().T, full_matrices=False)
    assert torch.allclose(
        (stacked @ A) @ (W.double() @ C).T, P[:, :5] * singular[:5] @ Qt[:5], atol=1e-5
    )


def test_tables_that_all_meet_share_their_principal_axes() -> None:
    U, V, W = tables(20, 30, 25)
    maps = joint_maps([gram(U), gram(V), gram(W)], [[1, 2], [0, 2], [0, 1]], 12)
    assert torch.equal(maps[0], maps[1])
    assert torch.allclose(maps[0].T @ maps[0], torch.eye(12, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(
        (U.double() @ maps[0]) @ (V.double() @ maps[1]).T, U.double() @ V.double().T
    )


def test_a_table_alone_keeps_its_principal_axes() -> None:
    (U,) = tables(60)
    A = table_map(gram(U), 4)
    P, singular, Qt = torch.linalg.svd(U.double(), full_matrices=False)
    assert torch.allclose((U.double() @ A) @ A.T, P[:, :4] * singular[:4] @ Qt[:4], atol=1e-5)


def test_the_columns_are_turned_so_that_rounding_costs_all_directions_alike() -> None:
    g = torch.Generator().manual_seed(2)
    U, V = (
        torch.randn(n, 32, generator=g) * torch.logspace(0, -1.5, 32) + torch.eye(32)[0] * 3
        for n in (400, 300)
    )
    A, B = joint_maps([gram(U), gram(V)], [[1], [0]], 32)
    u, v = (U.double() @ A).float(), (V.double() @ B).float()

    def lost(u: torch.Tensor, v: torch.Tensor) -> float:
        error = rounded(u) @ rounded(v).T - U @ V.T
        return float(error.square().sum())

    # the same columns, turned back to the singular directions
    axes = torch.linalg.eigh(gram(u))[1].float()
    assert lost(u, v) < 0.5 * lost(u @ axes, v @ axes)


def rounded(table: torch.Tensor) -> torch.Tensor:
    low, high = table.amin(1, keepdim=True), table.amax(1, keepdim=True)
    scale = (high - low) / 15
    return ((table - low) / scale).round() * scale + low


def test_dropped_rows_have_no_say() -> None:
    (U,) = tables(60)
    kept = torch.ones(60, dtype=torch.bool)
    kept[40:] = False
    assert torch.allclose(gram(U, kept), gram(U[:40]))


def test_an_empty_table_narrows_without_nan() -> None:
    zero = torch.zeros(6, 6)
    maps = joint_maps([zero, zero], [[1], [0]], 2)
    assert all(bool(torch.isfinite(each).all()) for each in maps)
    assert lost_share([zero, zero], maps) == 0.0


def test_groups_follow_partners_of_partners() -> None:
    partners = {"a": ["b"], "b": ["a", "c"], "c": ["b"], "d": []}
    assert groups(partners) == [["a", "b", "c"], ["d"]]
