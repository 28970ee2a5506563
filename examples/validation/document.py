"""RESULTS.md, written from the table, and what other pages quote of it: one source of figures."""

from __future__ import annotations

from validation.agenda import ASKED, Seeds, chosen
from validation.arms import ARMS
from validation.models import MODELS
from validation.plans import SETTINGS
from validation.tables import Records, Row, markdown, summary
from validation.verdicts import answers, others

BEGIN = "<!-- quoted from examples/validation/RESULTS.md -->"
END = "<!-- end of the quotation -->"
QUOTED_SETTINGS = ("tuned", "adam 1e-2")

_HEAD = """# What the validation found

Written by `python examples/validate_autofix.py --report --publish`; not to be edited by hand.

Test NDCG@10 on MovieLens-100K, last film of each user, full ranking. Seeds from 100 on, which
nothing was chosen by; the searches behind the tuned settings are in `tuned.json`. Columns are
changes in %, 95 % intervals by Student's t over seeds, bold where p < .05 after Holm over the whole
table. Where an arm has fewer seeds than `off`, it is compared on its own. `same`: no rank of any
user changed. A training in which auto-fix scaled no update is its own baseline. With ten seeds
Wilcoxon's p over seeds cannot be below .002."""


def document(found: list[Row], records: Records, seeds: Seeds) -> str:
    """RESULTS.md; the plot lies beside it."""
    parts = [
        _HEAD,
        _listed(missing(records, seeds), "All that was planned has been trained."),
        "## Answers",
        "\n".join(f"- {line}" for line in answers(found, records)),
        "## Change of NDCG@10, %",
        summary(found),
        "![Change of NDCG@10 by setting and arm](results.svg)",
        "## Every comparison",
        "\n".join(f"- {line}" for line in others(found)),
        markdown(found),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def missing(records: Records, seeds: Seeds) -> list[str]:
    """For each model the settings of which there is nothing, then arms that lack seeds."""
    lines: list[str] = []
    for model in MODELS:
        nothing: list[str] = []
        some: list[str] = []
        for setting in SETTINGS:
            asked = [arm for arm in ARMS if chosen(list(ASKED), model, setting, arm)]
            there = {arm: len(records.get((model, setting, arm), {})) for arm in asked}
            if not any(there.values()):
                nothing.append(setting)
                continue
            lacking = [
                f"{arm} {there[arm]} of {seeds.of(setting, arm)}"
                for arm in asked
                if there[arm] < seeds.of(setting, arm)
            ]
            if lacking:
                some.append(f"{model}, {setting}: {'; '.join(lacking)}")
        lines += [f"{model}: nothing of {', '.join(nothing)}"] if nothing else []
        lines += some
    return lines


def _listed(lines: list[str], none: str) -> str:
    if not lines:
        return none
    return "\n".join(["Not trained yet, in seeds:", "", *(f"- {line}" for line in lines)])


def quote(page: str, results: str) -> str:
    """The page with what stands between the two marks taken from RESULTS.md anew.

    The answers, and the rows of the tuned and of one untuned setting. Raises ValueError where a
    mark is missing.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"expected {BEGIN} and {END} in the page")
    lines = results.splitlines()
    start = lines.index("## Answers")
    table = lines.index("## Change of NDCG@10, %")
    said = [line for line in lines[start:table] if line.startswith("- ")]
    rows = [line for line in lines[table : lines.index("## Every comparison")] if line[:1] == "|"]
    head = rows[:2]
    kept = [row for row in rows[2:] if row.split(" | ")[1] in QUOTED_SETTINGS]
    return "\n".join([before + BEGIN, "", *head, *kept, "", *said, "", END + after])
