"""NDCG with a derivative: what predicts how a ranking suffers.

The cross-entropy of held-out items also minds how sure a model is, which no ranking does: units
taken out of a network may cost it much of the one and raise the other. A rank is one plus the
number of items before it; with a sigmoid of each difference for the count it is smooth, and so is
what is made of ranks (Qin, Liu and Li, Information Retrieval 13, 2010, ApproxNDCG).
"""

from __future__ import annotations

import torch
from torch import Tensor

_NEAR = 6
"""Times k: items of the highest scores that are ranked; the others are far from the first k."""
_TEMPERATURE = 0.03
"""Of the sigmoids, in spreads of a user's 2k highest scores, which lie about .17 apart: at .1 an
item passes another by halves, and changes that no rank feels are told from each other."""
_SOFT_END = 0.5
"""Ranks over which an item leaves the first k."""


def smooth_ndcg(scores: Tensor, relevant: Tensor, k: int = 10) -> Tensor:
    """NDCG@k of each user, smooth in the scores.

    To predict how much of the metric a change of the weights will cost, on the users of the metric:

        rise = LossRise(model, lambda model: -smooth_ndcg(score_all(model), held_out).mean())

    Args:
        scores: `[n, items]` float, -inf for what is not ranked.
        relevant: `[n, items]` bool.
        k: Ranks that count.

    Returns:
        `[n]`, 0 to about 1; 0 for a user without a relevant item. Takes n x (6k)^2 numbers of
        memory on the way.
    """
    top, ids = scores.topk(min(scores.shape[1], _NEAR * k))
    ranked = top.isfinite()
    top = top.masked_fill(~ranked, 0.0)
    count = ranked[:, : 2 * k].sum(1, keepdim=True).clamp_min(1)
    first = top[:, : 2 * k].detach()
    mean = first.sum(1, keepdim=True) / count
    deviation = (first - mean).masked_fill(~ranked[:, : 2 * k], 0.0)
    spread = (deviation.square().sum(1, keepdim=True) / count).sqrt()
    z = top / (_TEMPERATURE * spread.clamp_min(torch.finfo(top.dtype).tiny ** 0.5))
    before = torch.sigmoid(z[:, None, :] - z[:, :, None]) * ranked[:, None, :]
    # an item counts itself by half
    rank = 0.5 + before.sum(2)
    within = torch.sigmoid((k + 0.5 - rank) / _SOFT_END)
    found = relevant.gather(1, ids) & ranked
    gained = (found * within / torch.log2(rank.clamp_min(1.0) + 1)).sum(1)
    discount = 1 / torch.log2(torch.arange(k, device=scores.device) + 2.0)
    most = torch.arange(k, device=scores.device) < relevant.sum(1, keepdim=True)
    best = (most * discount).sum(1)
    return gained / best.clamp_min(float(discount[-1]))
