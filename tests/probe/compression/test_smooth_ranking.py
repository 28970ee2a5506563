"""The smooth NDCG is NDCG where ranks are clear, and has a derivative where they are not."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gradtracer.compression import smooth_ndcg


def ndcg(scores: Tensor, relevant: Tensor, k: int) -> Tensor:
    gains = relevant.gather(1, scores.argsort(1, descending=True))[:, :k]
    discount = 1 / torch.log2(torch.arange(k) + 2.0)
    best = torch.stack([discount[: int(count)].sum() for count in relevant.sum(1)])
    return (gains * discount).sum(1) / best


@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-3, 1.0, 1e3]))
@settings(max_examples=20, deadline=None)
def test_it_is_ndcg_where_ranks_are_clear(seed: int, scale: float) -> None:
    g = torch.Generator().manual_seed(seed)
    order = torch.stack([torch.randperm(12, generator=g) for _ in range(8)])
    # the end of the first three is soft: none relevant at ranks 3 and 4
    relevant = (torch.rand(8, 12, generator=g) < 0.3) & (order != 9) & (order != 8)
    relevant |= order == 10
    found = smooth_ndcg(scale * order.float(), relevant, k=3)
    assert torch.allclose(found, ndcg(order.float(), relevant, 3), atol=0.06)


def test_it_rises_with_the_score_of_what_is_relevant_at_the_edge_of_the_first_k() -> None:
    scores = torch.linspace(1, 0, 40)[None].repeat(2, 1).requires_grad_()
    relevant = torch.zeros(2, 40, dtype=torch.bool)
    relevant[:, 10] = True
    smooth_ndcg(scores, relevant).sum().backward()
    assert scores.grad is not None and scores.grad.isfinite().all()
    assert (scores.grad[:, 10] > 0).all()
    assert (scores.grad[:, 9] < 0).all()
    assert (scores.grad[:, 39].abs() < 1e-6).all()


def test_what_is_not_ranked_and_users_without_a_relevant_item_count_nothing() -> None:
    scores = torch.tensor([[9.0, 5.0, 4.0, 1.0], [1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0]])
    scores[0, 0] = -torch.inf
    relevant = torch.tensor([[True, True, False, False], [False] * 4, [True] * 4])
    found = smooth_ndcg(scores, relevant, k=2)
    alone = smooth_ndcg(scores[:1, 1:], relevant[:1, 1:], k=2)
    assert found[1] == 0
    assert found.isfinite().all()
    assert 0.55 < float(found[0]) < float(alone)
    everything = smooth_ndcg(torch.full((1, 4), -torch.inf), relevant[:1], k=2)
    assert everything.tolist() == [0.0]
