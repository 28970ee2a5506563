"""The rows that the loss minds most are those that keep more bits."""

from __future__ import annotations

import numpy as np
import torch

from gradtracer.compression.candidates import CandidateMaker
from gradtracer.compression.row_set import unpack_rows
from gradtracer.compression.row_tiers import hottest, tiered
from gradtracer.compression.sensitivity import Sensitivity
from gradtracer.compression.wording import reason_for

FORMATS = ("FP16", "INT8", "INT4", "INT2")


def test_the_fewest_rows_with_the_share_are_chosen() -> None:
    assert hottest(np.array([1, 8, 0, 1]), 0.8).tolist() == [False, True, False, False]
    assert hottest(np.array([1, 8, 0, 1]), 0.85).tolist() == [True, True, False, False]


def test_rows_never_counted_are_told_apart_by_their_gradients() -> None:
    fisher = torch.zeros(64)
    fisher[5], fisher[9] = 9.0, 1.0
    entries = list(tiered("table", Sensitivity({}, {"table": fisher}), FORMATS))
    assert len(entries) >= 3
    for entry in entries:
        chosen = unpack_rows(entry.tiers[0].rows, 64)
        assert chosen[5]
        assert chosen.sum() <= 2
        assert entry.tiers[0].share_of_look_ups is None
    counted = Sensitivity({"table": np.arange(64)}, {"table": fisher})
    first = next(tiered("table", counted, FORMATS)).tiers[0]
    assert unpack_rows(first.rows, 64)[63]
    assert first.share_of_look_ups is not None and first.share_of_look_ups >= 0.5


def test_no_tiers_where_no_row_is_told_from_another_and_none_in_a_format_that_may_not_be() -> None:
    assert list(tiered("table", Sensitivity({}, {}), FORMATS)) == []
    assert list(tiered("table", Sensitivity({}, {"table": torch.zeros(4)}), FORMATS)) == []
    some = list(tiered("table", Sensitivity({}, {"table": torch.ones(4)}), ("INT8", "INT4")))
    assert {entry.quantization for entry in some} == {"INT4"}


def test_a_loss_that_minds_few_rows_gets_a_table_smaller_than_four_bits() -> None:
    torch.manual_seed(0)
    model = torch.nn.ModuleDict({"table": torch.nn.Embedding(400, 32)})
    start = model.get_parameter("table.weight").detach().clone()
    minded = torch.full((400,), 1e-6)
    minded[:40] = 1.0

    def loss(model: torch.nn.Module) -> torch.Tensor:
        moved = model.get_parameter("table.weight") - start
        return (minded[:, None] * moved.square()).sum()

    sensitivity = Sensitivity({}, {"table": minded}, loss)
    (unit,) = CandidateMaker(model, sensitivity, measures=True).units()
    int4 = next(
        each
        for each in unit.tried
        if each.layers["table"].quantization == "INT4" and not each.layers["table"].tiers
    )
    better = [
        each
        for each in unit.candidates
        if each.bytes < 0.7 * int4.bytes and each.damage < 1.01 * int4.damage
    ]
    assert better
    tiers = better[-1].layers["table"].tiers
    assert tiers and unpack_rows(tiers[0].rows, 400)[:40].all() == (tiers[0].rows.count >= 40)
    assert "of largest gradients in INT4" in reason_for(better[-1].layers["table"], "loss")
