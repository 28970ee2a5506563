"""The fixes by name, and what each proposes for a diagnosis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

from gradtracer_schemas import FixOffer
from gradtracer_server.exceptions import AlreadyApplied, NotApplicable
from gradtracer_server.fixes import (
    apply_recipe,
    clear_gradients,
    clip_gradients,
    constrain_monotone,
    decay_tables,
    edit_booster_parameter,
    enable_auto_fix,
    insert_normalisation,
    inverse_frequency_weights,
    leave_out_column,
    log_q_correction,
    raise_learning_rate,
    reduce_embedding_dim,
    reduce_learning_rate,
    reduce_weight_decay,
    register_modules,
    replace_activation,
    set_weight_decay,
    shrink_table,
    sparse_gradients,
    suppress,
    train_longer,
)
from gradtracer_server.fixes.proposal import (
    Edits,
    Fix,
    FixContext,
    Frame,
    LocatingFix,
    Plan,
    ProposedFix,
)
from gradtracer_server.source.edits import apply_edits, verify

__all__ = ["FIXES", "Edits", "FixContext", "Frame", "ProposedFix", "addressed", "propose"]

_SETTING: tuple[LocatingFix, ...] = cast(
    "tuple[LocatingFix, ...]",
    (
        apply_recipe,
        clear_gradients,
        clip_gradients,
        constrain_monotone,
        decay_tables,
        edit_booster_parameter,
        enable_auto_fix,
        insert_normalisation,
        inverse_frequency_weights,
        leave_out_column,
        log_q_correction,
        raise_learning_rate,
        reduce_embedding_dim,
        reduce_learning_rate,
        reduce_weight_decay,
        register_modules,
        replace_activation,
        set_weight_decay,
        shrink_table,
        sparse_gradients,
        train_longer,
    ),
)
"""Fixes that write what the text may say already: each finds where."""

FIXES: dict[str, Fix] = {fix.NAME: fix for fix in (*_SETTING, cast(Fix, suppress))}
"""Every fix this server can make."""

_LOCATES: dict[str, Callable[[FixContext], None]] = {fix.NAME: fix.locate for fix in _SETTING}


def propose(context: FixContext, *, silence: bool = True) -> list[ProposedFix]:
    """The fixes for a diagnosis, the preferred one first.

    With an offer in the context, that one; without, all that the diagnosis offers, and then
    suppression, unless that is not wanted. One that does not apply comes disabled, with the reason.
    One that a newer probe offers and this server does not know is left out.
    """
    offers = [context.offer] if context.offer is not None else _all_offers(context)
    wanted = (offer for offer in offers if silence or offer.fix != suppress.NAME)
    return [_propose(context, offer) for offer in wanted if offer.fix in FIXES]


def addressed(context: FixContext) -> bool:
    """Whether the text says already what one of the diagnosis' fixes would write.

    What the run measured was then another text, wherever in it the fix was made: in the statement
    that defines the layer, at a constant, at an option's default, or in the call that watches it.
    """
    for offer in context.diagnosis.fixes:
        locate = _LOCATES.get(offer.fix)
        try:
            if locate is not None:
                locate(replace(context, offer=offer))
        except AlreadyApplied:
            return True
        except NotApplicable:
            continue
    return False


def _all_offers(context: FixContext) -> list[FixOffer]:
    offered = sorted(context.diagnosis.fixes, key=lambda offer: not offer.preferred)
    rest = [] if any(o.fix == suppress.NAME for o in offered) else [FixOffer(fix=suppress.NAME)]
    return [*offered, *rest]


def _propose(context: FixContext, offer: FixOffer) -> ProposedFix:
    fix = FIXES[offer.fix]
    try:
        plan = fix.plan(replace(context, offer=offer))
    except NotApplicable as reason:
        return ProposedFix(fix.NAME, fix.TITLE, dict, disabled_reason=str(reason))
    return ProposedFix(
        fix.NAME,
        plan.title,
        lambda: _verified(plan),
        rewrites=plan.rewrites,
        preferred=offer.preferred,
    )


def _verified(plan: Plan) -> Edits:
    """The plan's edits, once each file is known to be no worse for them."""
    for source, edits in plan.changes.values():
        verify(source.text, apply_edits(source.text, edits))
    return {path: edits for path, (_, edits) in plan.changes.items()}
