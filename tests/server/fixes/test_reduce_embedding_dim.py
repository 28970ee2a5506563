from __future__ import annotations

import ast
import re
from pathlib import Path
from textwrap import dedent

import msgspec
import pytest
from fix_bench import Bench
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradtracer_schemas import SourceFrame
from gradtracer_server.fixes.proposal import ProposedFix
from gradtracer_server.source.index import SourceText

DIRECT = """\
import torch.nn as nn


class Model(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.user_emb = nn.Embedding(n, 64)  # 64 wide
        self.item_emb = nn.Embedding(n, embedding_dim=64)
        self.bias = nn.Embedding(n, 1)


class Other(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.item_emb = nn.Embedding(n, 64)
"""


def reduce(bench: Bench, frames: list[tuple[Path, str, str]], dim: object = 24) -> ProposedFix:
    """The fix for a layer whose chain is given, innermost first: file, call, scope."""
    site = [bench.frame(path, call, scope) for path, call, scope in frames]
    return bench.one("reduce-embedding-dim", site=site, embedding_dim=dim)


def reduce_marked(bench: Bench, *files: str) -> ProposedFix:
    """The fix for files in which `#1` marks the call of the innermost frame, `#2` of the next.

    The files are named a.py, b.py and so on.
    """
    frames: dict[str, SourceFrame] = {}
    for name, text in zip("abc", files, strict=False):
        path = bench.write(f"{name}.py", text)
        source = SourceText.parse(text)
        calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
        for number, line in enumerate(source.lines):
            mark = re.search(r"#(\d)", line)
            if mark:
                (statement,) = source.statements_on(number)[-1:]
                texts = [ast.get_source_segment(text, c) for c in calls if c.lineno == number + 1]
                call = max((each for each in texts if each), key=len)
                frames[mark[1]] = bench.frame(path, call, statement.scope)
    site = [frames[number] for number in sorted(frames)]
    return bench.one("reduce-embedding-dim", site=site, embedding_dim=24)


def test_tables_of_one_class_stay_equally_wide(bench: Bench) -> None:
    path = bench.write("model.py", DIRECT)
    fix = reduce(bench, [(path, "nn.Embedding(n, embedding_dim=64)", "Model.__init__")])
    expected = DIRECT.replace("nn.Embedding(n, 64)  #", "nn.Embedding(n, 24)  #")
    expected = expected.replace("embedding_dim=64", "embedding_dim=24")
    assert bench.make(fix) == {"model.py": expected}
    assert fix.title == "Reduce embedding_dim from 64 to 24, also of user_emb"


def test_of_many_tables_only_a_few_are_named(bench: Bench) -> None:
    text = "".join(f"t{n} = Embedding(9, 64)\n" for n in range(9))
    path = bench.write("a.py", text.replace("t0 =", "first ="))
    frame = bench.frame(path, "Embedding(9, 64)")
    fix = bench.one("reduce-embedding-dim", site=[frame], embedding_dim=24)
    assert fix.title == "Reduce embedding_dim from 64 to 24, also of t1, t2, t3 and 5 more"
    assert "64" not in bench.make(fix)["a.py"]


def test_other_places_with_the_same_number_are_named(bench: Bench) -> None:
    text = DIRECT.replace("nn.Embedding(n, 1)", "nn.Linear(64, 1)")
    path = bench.write("model.py", text)
    fix = reduce(bench, [(path, "nn.Embedding(n, embedding_dim=64)", "Model.__init__")])
    assert fix.title.endswith("also of user_emb; 64 also stands on line 9")
    assert "nn.Linear(64, 1)" in bench.make(fix)["model.py"]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("nn.Embedding(9, 64)", "nn.Embedding(9, 24)"),
        ("nn.Embedding(9, 6_4)", "nn.Embedding(9, 24)"),
        ("nn.Embedding(9, 0x40)", "nn.Embedding(9, 24)"),
        ("nn.Embedding(9, (64))", "nn.Embedding(9, (24))"),
        ("torch.nn.Embedding(9, 64, sparse=True)", "torch.nn.Embedding(9, 24, sparse=True)"),
        ("Embedding(\n  9,\n  64,  # wide\n)", "Embedding(\n  9,\n  24,  # wide\n)"),
        ("EmbeddingBag(embedding_dim=64, mode=m)", "EmbeddingBag(embedding_dim=24, mode=m)"),
        ("Table(9, 64)", "Table(9, 24)"),
    ],
)
def test_a_literal_is_edited_where_it_stands(bench: Bench, call: str, expected: str) -> None:
    text = f"from torch.nn import Embedding as Table\né = '𝒙'; e = {call}\n"
    path = bench.write("a.py", text)
    fix = reduce(bench, [(path, call, "<module>")])
    assert bench.make(fix) == {"a.py": text.replace(call, expected)}


FOLLOWED = {
    "DIM on line 1": """
        DIM = 64  #=
        e = Embedding(9, DIM)  #1
    """,
    "W on line 1": """
        W = 64  #=
        DIM: int = W
        e = Embedding(9, DIM)  #1
    """,
    "A on line 1": """
        A = B = 64  #=
        e = Embedding(9, A)  #1
    """,
    "d on line 2": """
        def f():
            d = 64  #=
            return Embedding(9, d)  #1
    """,
    "width on line 2": """
        class A:
            width = 64  #=
            e = Embedding(9, width)  #1
    """,
    "self.d on line 3": """
        class A:
            def __init__(self):
                self.d = 64  #=
                self.e = Embedding(9, self.d)  #1
    """,
    "d in the call on line 4": """
        class A:
            def __init__(self, n, d):
                self.e = Embedding(n, d)  #1
        a = A(9, 64)  #2 #=
    """,
    "named in the call on line 4": """
        class A:
            def __init__(self, n, *rest, named):
                self.e = Embedding(n, named)  #1
        a = A(9, named=64)  #2 #=
    """,
    "default of d on line 2": """
        class A:
            def __init__(self, n, d: int = 64):  #=
                self.e = Embedding(n, d)  #1
        a = A(9)  #2
    """,
    "WIDE on line 1": """
        WIDE = 64  #=
        def f(n, d=WIDE):
            return Embedding(n, d)  #1
        e = f(9)  #2
    """,
    "FAR on line 1": """
        FAR = 64  #=
        def t(d):
            return Embedding(9, d)  #1
        def f(w):
            return t(d=w)  #2
        e = f(FAR)  #3
    """,
    "a in the call on line 6": """
        class A:
            def __init__(self, a):
                self.e = Embedding(9, a)  #1
        class B(A):
            def __init__(self):
                super().__init__(64)  #2 #=
        B()  #3
    """,
    "b in the call on line 6": """
        class A:
            def __init__(self, b):
                self.e = Embedding(9, b)  #1
        class B(A):
            def __init__(self):
                A.__init__(self, 64)  #2 #=
        B()  #3
    """,
    "c in the call on line 5": """
        class A:
            def __init__(self, c):
                self.e = Embedding(9, c)  #1
        class B(A): pass
        B(64)  #2 #=
    """,
    "d in the call on line 5": """
        class A:
            def t(self, d):
                return Embedding(9, d)  #1
        a = A()
        a.t(64)  #2 #=
    """,
    "e in the call on line 5": """
        class A:
            @staticmethod
            def s(e):
                return Embedding(8, e)  #1
        A.s(64)  #2 #=
    """,
    "f in the call on line 6": """
        class A:
            def __init__(self, f):
                self.e = Embedding(8, f)  #1
            @classmethod
            def make(cls, n):
                return cls(64)  #2 #=
        A.make(1)  #3
    """,
    "default of --emb-dim on line 2": """
        p.add_argument("--lr", default=64)
        p.add_argument("--emb-dim", type=int, default=64)  #=
        args = p.parse_args()
        e = Embedding(9, args.emb_dim)  #1
    """,
    "default of --dim on line 1": """
        p.add_argument("-d", "--width", dest="dim", default=64)  #=
        e = Embedding(9, args.dim)  #1
    """,
    "n on line 3": """
        def f():
            # the name below is another one
            n = 64  #=
            def inner(k):
                n = 8
            return Embedding(9, n)  #1
    """,
}


@pytest.mark.parametrize("via", FOLLOWED)
def test_a_name_is_followed_to_the_number_that_sets_it(bench: Bench, via: str) -> None:
    text = dedent(FOLLOWED[via]).lstrip()
    fix = reduce_marked(bench, text)
    changed = re.sub(r"64(?=.*#=)", "24", text)
    assert changed != text
    assert bench.make(fix) == {"a.py": changed}
    assert fix.title == f"Reduce embedding_dim from 64 to 24: {via}"


MODEL = """\
class MF(nn.Module):
    def __init__(self, n, dim):
        self.e = nn.Embedding(n, dim)  #1
"""
TRAIN = """\
def parse():
    p.add_argument("--dim", type=int, default=64)
    return p.parse_args()

def main():
    args = parse()
    model = MF(10, args.dim)  #2

main()  #3
"""


def test_the_number_may_stand_in_another_file(bench: Bench) -> None:
    fix = reduce_marked(bench, MODEL, TRAIN)
    assert bench.make(fix) == {"b.py": TRAIN.replace("64", "24")}
    assert fix.title.endswith(": default of --dim on line 2 of b.py")


def test_the_options_may_stand_in_the_file_of_the_caller(bench: Bench) -> None:
    model = "def build(args):\n    return nn.Embedding(9, args.dim)  #1\n"
    train = "p.add_argument('--dim', default=64)\nm = build(args)  #2\n"
    assert bench.make(reduce_marked(bench, model, train)) == {"b.py": train.replace("64", "24")}


LOST = {
    "no single number sets it": "e = Embedding(9, 2 * 32)  #1",
    "given as int(x) on line 1": "e = Embedding(9, int(x))  #1",
    "d on line 1 is not set in this file": "e = Embedding(9, d)  #1",
    "imported is not set by a plain assignment": """
        from c import imported
        e = Embedding(9, imported)  #1
    """,
    "d is set in 2 places": """
        d = 8
        d = 64
        e = Embedding(9, d)  #1
    """,
    "grown is set in 2 places": """
        grown = 8
        grown += 56
        e = Embedding(9, grown)  #1
    """,
    "looped is not set by a plain assignment": """
        for looped in x:
            e = Embedding(9, looped)  #1
    """,
    "d on line 2 takes several values": """
        d = 64
        x = [Embedding(9, d) for d in y]  #1
    """,
    "given on line 2 takes several values": """
        given = 64
        x = lambda given: Embedding(9, given)  #1
    """,
    "too many names": """
        d = d
        e = Embedding(9, d)  #1
    """,
    "where cfg.dim is set cannot be read": "e = Embedding(9, cfg.dim)  #1",
    "it may be unpacked": "e = Embedding(*sizes)  #1",
    "embedding_dim is not passed": "e = Embedding(9, **sizes)  #1",
    "the layer is built by Table(...)": "e = Table(9, 64)  #1",
    "embedding_dim is 24 already": "e = Embedding(9, 24)  #1",
    "embedding_dim is 16 already": "e = Embedding(9, 16)  #1",
    "a call that the run did not record": """
        def f(d):
            return Embedding(9, d)  #1
    """,
    "the call on line 3 unpacks what it passes": """
        def f(d):
            return Embedding(9, d)  #1
        f(**x)  #2
    """,
    "the call on line 3 does not pass d": """
        def f(d):
            return Embedding(9, d)  #1
        f()  #2
    """,
    "is not a plain call": """
        def f(d):
            return Embedding(9, d)  #1
        model.apply(f)  #2
    """,
    "outer is passed by a call that the run did not record": """
        def f(outer):
            def g():
                return Embedding(9, outer)  #1
            return g()  #2
        f(64)  #3
    """,
    "has no default": """
        p.add_argument("--dim", type=int)
        e = Embedding(9, args.dim)  #1
    """,
    "2 options of a.py set args.dim": """
        p.add_argument("--dim", default=8)
        q.add_argument("--dim", default=64)
        e = Embedding(9, args.dim)  #1
    """,
    "self.d is set in 2 places of its class": """
        class A:
            def __init__(self):
                self.d = 64
                self.e = Embedding(9, self.d)  #1
            def grow(self):
                self.d = 128
    """,
}


@pytest.mark.parametrize("reason", LOST)
def test_what_cannot_be_followed_without_doubt_is_not_edited(bench: Bench, reason: str) -> None:
    fix = reduce_marked(bench, dedent(LOST[reason]).lstrip())
    assert fix.disabled_reason is not None and reason in fix.disabled_reason
    assert fix.edits() == {}


@pytest.mark.parametrize("dim", [None, 0, -1, True, 2.5, "24", [24]])
def test_a_width_that_makes_no_sense_is_not_written(bench: Bench, dim: object) -> None:
    path = bench.write("a.py", "e = Embedding(9, 64)\n")
    fix = reduce(bench, [(path, "Embedding(9, 64)", "<module>")], dim)
    assert fix.disabled_reason is not None and "positive integer" in fix.disabled_reason


def test_a_changed_definition_is_not_edited(bench: Bench) -> None:
    path = bench.write("model.py", DIRECT)
    frame = bench.frame(path, "nn.Embedding(n, embedding_dim=64)", "Model.__init__")
    bench.write("model.py", DIRECT.replace("embedding_dim=64", "embedding_dim=65"))
    fix = bench.one("reduce-embedding-dim", site=[frame], embedding_dim=24)
    assert fix.disabled_reason is not None and "has changed" in fix.disabled_reason


def test_a_changed_call_is_not_edited(bench: Bench) -> None:
    text = "def f(d):\n    return Embedding(9, d)\ne = f(64)\n"
    path = bench.write("a.py", text)
    site = [bench.frame(path, "Embedding(9, d)", "f"), bench.frame(path, "f(64)")]
    bench.write("a.py", text.replace("f(64)", "f(64, 1)"))
    fix = bench.one("reduce-embedding-dim", site=site, embedding_dim=24)
    assert fix.disabled_reason is not None and "has changed" in fix.disabled_reason


def test_a_layer_of_a_library_is_not_edited(bench: Bench, tmp_path: Path) -> None:
    library = tmp_path / "library.py"
    library.write_text("e = Embedding(9, 64)\n", encoding="utf-8")
    site = [bench.frame(library, "Embedding(9, 64)")]
    fix = bench.one("reduce-embedding-dim", site=site, embedding_dim=24)
    assert fix.disabled_reason is not None and "outside the workspace" in fix.disabled_reason
    script = bench.write("train.py", "m = Library(64)\n")
    fix = bench.one(
        "reduce-embedding-dim",
        site=[*site, bench.frame(script, "Library(64)")],
        embedding_dim=24,
    )
    assert fix.disabled_reason is not None and "built by Library(...)" in fix.disabled_reason


SPACE = st.sampled_from(["", " ", "\n    ", "  # 64\n    ", " \\\n    "])
NUMBER = st.sampled_from(["64", "6_4", "0x40", "0b100_0000"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(SPACE, min_size=6, max_size=6),
    NUMBER,
    st.sampled_from(["{}", "embedding_dim={}"]),
    st.sampled_from(["", ","]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "# é𝒙\n", "\ufeff"]),
)
def test_every_other_byte_stays(
    bench: Bench, spaces: list[str], number: str, form: str, comma: str, line_break: str, head: str
) -> None:
    a, b, c, d, e, f = spaces
    dim = form.format(number)
    call = f"Embedding({a}9{b},{c}{dim}{d}{comma}{e})"
    text = f"{head}if 1:\n    x = '64'; y = {call}{'' if f.strip() else f}\n    z = 64\n"
    text = text.replace("\n", line_break)
    path = bench.write("a.py", text)
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n")
    tree = ast.parse(plain)
    recorded = next(
        ast.get_source_segment(plain, node) for node in ast.walk(tree) if isinstance(node, ast.Call)
    )
    assert recorded is not None
    unix = bench.write("unix.py", plain)
    frame = bench.frame(unix, recorded)
    site = [msgspec.structs.replace(frame, file=str(path))]
    fix = bench.one("reduce-embedding-dim", site=site, embedding_dim=24)
    made = bench.make(fix)["a.py"]
    place = text.index(number, text.index("9", text.index("Embedding(")))
    while text[place - 1] == "#" or text[place - 2 : place] == "# ":
        place = text.index(number, place + 1)
    assert made == text[:place] + "24" + text[place + len(number) :]
    assert not SourceText.parse(made).broken


@pytest.mark.parametrize(("width", "stands"), [(64, False), (16, True)])
def test_a_width_below_what_the_run_had_was_edited_since_though_the_advice_changed(
    bench: Bench, width: int, stands: bool
) -> None:
    path = bench.write("a.py", f"e = nn.Embedding(9, {width})\n")
    site = [bench.frame(path, f"nn.Embedding(9, {width})")]
    fix = bench.one("reduce-embedding-dim", site=site, embedding_dim=8, measured_dim=64)
    assert ("already" in (fix.disabled_reason or "")) is stands
