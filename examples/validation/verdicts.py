"""What the table says of the questions asked of it, as sentences."""

from __future__ import annotations

from collections import Counter
from typing import Any

from validation.arms import ARMS
from validation.tables import SMALL, Records, Row, percent, pooled

AVERAGE = "average, gated"
_NAMES = {
    "auto_fix": "`auto_fix=True`",
    "original": "The original's `auto_fix` (gradtracer 0.9.0)",
}


def answers(found: list[Row], records: Records) -> list[str]:
    """Of the proposed training edits, of averaging, and of auto-fix, ours and the original's."""
    return [
        *_proposals(found, records),
        _averaging(records),
        *_against_off(found, ["auto_fix"]),
        *_states(records),
        *_against_off(found, ["original"]),
    ]


def others(found: list[Row]) -> list[str]:
    """How each further arm did over all settings."""
    return _against_off(found, [arm for arm in ARMS if arm not in _NAMES])


def _proposals(found: list[Row], records: Records) -> list[str]:
    told: list[str] = []
    for row in found:
        if row.arm == "proposed" and row.setting.startswith("adam"):
            p = row.adjusted["p_seeds_t"]
            met = row.ndcg.gain >= 0.1 and p < 0.01
            told.append(
                f"{row.model}, {row.setting}, no decay, after the training edits that diagnoses "
                f"propose: NDCG@10 {row.ndcg.before:.4f} to {row.ndcg.after:.4f}, "
                f"{_change(row.ndcg.gain, row.ndcg.interval)}, {row.ndcg.seeds} seeds, p = {p:.2g} "
                f"after Holm ({_edits(records[row[:3]])}): goal of +10 % at p < .01 "
                f"{'met' if met else 'missed'}."
            )
    return told


def _edits(by_seed: dict[int, dict[str, Any]]) -> str:
    """In how many trainings each diagnosis had its edit made; the most first, then by name."""
    found: Counter[str] = Counter()
    for record in by_seed.values():
        edits = [edit for made in record["notes"]["edits"] for edit in made]
        found.update({edit.partition(" of ")[0] for edit in edits})
    most = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} in {count}" for name, count in most) or "none made"


def _averaging(records: Records) -> str:
    found = pooled(records, "tuned", AVERAGE)
    if found is None:
        return "Averaging, gated, tuned: not measured on two seeds or more."
    helps = found.gain > 0 and found.p_t < SMALL
    return (
        f"Averaging, gated, tuned, pooled over {found.models} models and {found.seeds} seeds: "
        f"NDCG@10 {_change(found.gain, found.interval)}, p = {found.p_t:.2g} (t), "
        f"{found.p_wilcoxon:.2g} (Wilcoxon): "
        f"{'a gain' if helps else 'no gain that could be told from chance'}."
    )


def _change(gain: float, interval: tuple[float, float]) -> str:
    return f"{percent(gain)} [{percent(interval[0])}, {percent(interval[1])}]"


def _against_off(found: list[Row], arms: list[str]) -> list[str]:
    told: list[str] = []
    for arm in arms:
        of = [row for row in found if row.arm == arm]
        if not of:
            continue
        below = [row for row in of if row.ndcg.gain < 0]
        sure = [row for row in below if row.adjusted["p_seeds_t"] < SMALL]
        maybe = [row for row in below if row.ndcg.p_seeds_t < SMALL]
        better = [row for row in of if row.ndcg.gain > 0 and row.adjusted["p_seeds_t"] < SMALL]
        idle = sum(not row.unlike for row in of)
        seeds = sorted({row.ndcg.seeds for row in of})
        span = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        told.append(
            f"{_NAMES.get(arm, arm)}: of {len(of)} settings of all models ({span} seeds) "
            f"significantly below off {len(sure)}{_named(sure)}, before Holm "
            f"{len(maybe)}{_named(maybe)}; significantly above {len(better)}{_named(better)}; "
            f"not one rank changed in {idle}."
        )
    return told


def _named(of: list[Row]) -> str:
    return f" ({'; '.join(f'{row.model}, {row.setting}' for row in of)})" if of else ""


def _states(records: Records) -> list[str]:
    """In how many trainings auto-fix acted, and its states by share of steps."""
    notes = [
        record["notes"]
        for (_, _, arm), by_seed in records.items()
        if arm == "auto_fix"
        for record in by_seed.values()
    ]
    if not notes:
        return []
    total: dict[str, float] = {}
    for each in notes:
        for state, share in each["states"].items():
            total[state] = total.get(state, 0.0) + share / len(notes)
    shares = ", ".join(
        f"{state} {100 * share:.1f} %"
        for state, share in sorted(total.items(), key=lambda item: -item[1])
    )
    acted = sum(each["acted"] > 0 for each in notes)
    return [
        f"It scaled updates in {acted} of {len(notes)} trainings. Its states, in shares of the "
        f"steps of all tables: {shares}."
    ]
