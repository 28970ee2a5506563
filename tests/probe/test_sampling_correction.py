"""`gradtracer.log_q` counts what it is given and is the log of its share."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import nn

import gradtracer
from gradtracer import sampling_correction


def test_it_is_the_log_share_of_all_ids_so_far():
    table = nn.Embedding(10, 4)
    first = gradtracer.log_q(table, torch.tensor([1, 1, 2, 3]))
    assert torch.allclose(first.exp(), torch.tensor([0.5, 0.5, 0.25, 0.25]))
    second = gradtracer.log_q(table, torch.tensor([[1, 9], [9, 9]]))
    assert second.shape == (2, 2)
    assert torch.allclose(second.exp(), torch.tensor([[3 / 8, 3 / 8], [3 / 8, 3 / 8]]))


def test_in_evaluation_nothing_is_counted_and_unseen_ids_are_as_if_seen_once():
    table = nn.Embedding(10, 4)
    gradtracer.log_q(table, torch.tensor([1, 1]))
    table.eval()
    told = [gradtracer.log_q(table, torch.tensor([1, 5])).exp().tolist() for _ in range(2)]
    assert told == [[1.0, 0.5], [1.0, 0.5]]


def test_it_carries_no_gradient_and_the_dtype_of_the_weight():
    table = nn.Embedding(10, 4).double()
    correction = gradtracer.log_q(table, torch.tensor([1]))
    assert not correction.requires_grad
    assert correction.dtype == torch.float64


def test_counts_go_with_their_table():
    table = nn.Embedding(10, 4)
    gradtracer.log_q(table, torch.tensor([1]))
    known = len(sampling_correction._counts)
    del table
    gc.collect()
    assert len(sampling_correction._counts) == known - 1


def test_softmax_learns_the_score_and_not_the_popularity():
    """Of two items that users like alike, one is in nine of ten batches: after correction equal."""
    torch.manual_seed(0)
    scores = {}
    for corrected in (False, True):
        table = nn.Embedding(20, 1)
        nn.init.zeros_(table.weight)
        optimizer = torch.optim.SGD(table.parameters(), lr=0.5)
        popularity = torch.arange(1.0, 21.0)
        for _ in range(600):
            items = torch.multinomial(popularity, 64, replacement=True)
            logits = table(items).T.expand(64, 64)
            if corrected:
                logits = logits - gradtracer.log_q(table, items)
            loss = nn.functional.cross_entropy(logits, torch.arange(64))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        learned = table.weight.detach().squeeze(1)
        scores[corrected] = float((learned[-1] - learned[0]).item())
    # Without users the ideal score is log P(item) corrected, and equal for all uncorrected.
    assert scores[False] == pytest.approx(0.0, abs=0.2)
    assert scores[True] == pytest.approx(torch.log(torch.tensor(20.0)).item(), abs=0.4)
