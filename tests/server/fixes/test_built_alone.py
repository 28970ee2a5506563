"""A table is shrunk only where no other one is built by the same line."""

from __future__ import annotations

import pytest
from fix_bench import Bench

from gradtracer_server.fixes.proposal import ProposedFix

TOWER = """\
class Tower(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.emb = nn.Embedding(n, 8)
    def forward(self, ids):
        return self.emb(ids)
def table(n):
    return nn.Embedding(n, 16)
class Child(Tower):
    def __init__(self):
        super().__init__(5)
class Net(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        {built}
    def forward(self, ids):
        return self.emb(ids)
def main():
    model = Net([5, 9])
    {more}
main()
main()
"""
OWN, HELPED = "nn.Embedding(n, 8)", "self.emb = table(5); self.other = table(9)"


def shrink(
    bench: Bench, *calls: tuple[str, str], built: str = "pass", more: str = "pass"
) -> ProposedFix:
    """`calls`: those that led to the table, innermost first, each with the function it is in."""
    path = bench.write("a.py", TOWER.format(built=built, more=more))
    frames = [bench.frame(path, call, qualname) for call, qualname in calls]
    return bench.one("shrink-table", site=frames, attribute="emb", num_embeddings=4)


TOWERS = (OWN, "Tower.__init__")
MODEL = [("Net([5, 9])", "main"), ("main()", "<module>")]


@pytest.mark.parametrize(
    ("calls", "built", "more"),
    [
        ([TOWERS, ("Tower(5)", "Net.__init__"), *MODEL], "self.top = Tower(5)", "pass"),
        ([TOWERS, ("Tower(5)", "main")], "pass", "top = Tower(5)"),
        ([TOWERS, ("super().__init__(5)", "Child.__init__"), ("Child()", "main")], "", "Child()"),
    ],
    ids=["in the model", "beside it", "by its subclass"],
)
def test_a_table_that_is_built_once_is_shrunk(
    bench: Bench, calls: list[tuple[str, str]], built: str, more: str
) -> None:
    fix = shrink(bench, *calls, built=built or "pass", more=more)
    assert fix.disabled_reason is None
    assert "nn.Embedding(min(n, 4), 8)" in bench.make(fix)["a.py"]


@pytest.mark.parametrize(
    ("calls", "built", "more", "reason"),
    [
        (
            [TOWERS, ("Tower(5)", "Net.__init__"), *MODEL],
            "self.top, self.side = Tower(5), Tower(9)",
            "pass",
            "line 4 builds the tables of 2 calls of Tower; give this one 4 rows, and look its ids "
            "up by their remainder, for the call on line 15 of a.py",
        ),
        (
            [TOWERS, ("Tower(5)", "main")],
            "pass",
            "top, side = Tower(5), Tower(9)",
            "line 4 builds the tables of 2 calls of Tower",
        ),
        (
            [TOWERS, ("Tower(n)", "Net.__init__"), *MODEL],
            "self.towers = [Tower(n) for n in sizes]",
            "pass",
            "line 4 builds the tables of all that line 15 of a.py builds, in a loop",
        ),
        (
            [("nn.Embedding(m, 8)", "Net.__init__"), *MODEL],
            "self.tables = nn.ModuleList(nn.Embedding(m, 8) for m in sizes)",
            "pass",
            "line 15 builds several tables, in a loop; give this one 4 rows",
        ),
        (
            [("nn.Embedding(m, 8)", "Net.__init__"), *MODEL],
            "for m in sizes: self.add_module(str(m), nn.Embedding(m, 8))",
            "pass",
            "line 15 builds several tables, in a loop; give this one 4 rows",
        ),
        (
            [("nn.Embedding(n, 16)", "table"), ("table(5)", "Net.__init__"), *MODEL],
            HELPED,
            "pass",
            "line 8 builds the tables of 2 calls of table",
        ),
    ],
    ids=["towers", "beside", "listed", "comprehension", "loop", "helper"],
)
def test_a_line_that_builds_several_is_left_and_says_what_to_do(
    bench: Bench, calls: list[tuple[str, str]], built: str, more: str, reason: str
) -> None:
    fix = shrink(bench, *calls, built=built, more=more)
    assert reason in (fix.disabled_reason or "")
