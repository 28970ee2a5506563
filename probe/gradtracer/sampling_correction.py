"""`log_q(table, ids)`: what in-batch softmax must be corrected by, counted as the training goes."""

from __future__ import annotations

import weakref

import torch
from torch import Tensor, nn

_counts: weakref.WeakKeyDictionary[nn.Module, tuple[Tensor, int]] = weakref.WeakKeyDictionary()


def log_q(table: nn.Embedding | nn.EmbeddingBag, ids: Tensor) -> Tensor:
    """Log of the share of each id among all ids of the batches so far, this one included.

    Where the negatives of an example are the other items of its batch, an item is drawn as often as
    it is popular, and softmax learns its score less log Q of that. Subtract it from the logits:

        logits = users @ items.T - gradtracer.log_q(model.item_emb, item_ids)
        loss = F.cross_entropy(logits, torch.arange(len(logits)))

    Counted exactly, in training mode alone, in 8 bytes a row on the device of `ids`; independent of
    `watch`. Nothing is read back. The counts are not saved: a resumed training counts anew, and
    while few ids have been seen the correction is near the same for all, which softmax ignores.

    Args:
        table: the table that the ids are looked up in; counts are kept for as long as it lives.
        ids: `[B]` or any shape, integers below `table.num_embeddings`: the items of the columns.

    Returns:
        Tensor of the shape of `ids`, on its device, without gradient; dtype of the table's weight.

    Source: Yi et al., Sampling-bias-corrected neural modeling, RecSys (2019), eq. 4; their Q is
    estimated from streams, ours is counted.
    """
    with torch.no_grad():
        counts, total = _counts.get(table, (None, 0))
        flat = ids.detach().reshape(-1).long()
        if counts is None or counts.device != ids.device:
            counts = torch.zeros(table.num_embeddings, dtype=torch.int64, device=ids.device)
            total = 0
        if table.training:
            counts.index_add_(0, flat, torch.ones_like(flat))
            total += flat.numel()
            _counts[table] = counts, total
        dtype = table.weight.dtype
        share = counts[flat].clamp_(min=1).to(dtype) / max(total, 1)
        return share.log_().reshape(ids.shape)
