from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradtracer_server.source.index import SourceText, canonical
from gradtracer_server.source.statements import loose_key

SAME = [
    ("x = nn.Embedding(1, 2,)", "x = (\n  nn.Embedding(\n    1,  # rows\n    2\n  )\n)"),
    ("x  =  f( a,b )", "x = f(a, b)"),
    ("x = 1 + \\\n    2", "x = (1 + 2)"),
    ("s = 'it\\'s'", 's = "it\'s"'),
    ("s = u'a' 'b'", 's = (\n    "a"\n    "b"\n)'),
    ("s = F'{a!r} {(b)}'", 's = f"{a!r} {b}"'),
    ("s = f'{a}' f'{b}'", 's = f"{a}{b}"'),
    ("s = '{' f'{b}'", 's = f"{{{b}"'),
    ("s = Rb'a' rB'b'", 's = rb"ab"'),
    ("n = 0XFF + 1E5", "n = 0xff + 1e5"),
    ("t = (1, 2,)", "t = 1, 2"),
    ("t = (1,)", "t = 1,"),
    ("(a, b) = f()", "a, b = f()"),
    ("for (i) in (range(3)): pass", "for i in range(3):"),
    ("elif (ready): pass", "if ready:"),
    ("class A(): pass", "class A:"),
    ("@dataclass\nclass A(B): pass", "class A(B):"),
    ("async def f(a, b=3,) -> int: pass", "async def f(\n    a,\n    b=3,\n) -> int:"),
    ("with (open(a) as f, open(b) as g,): pass", "with open(a) as f, open(b) as g:"),
    ("from a import (b, c,)", "from a import b, c"),
    ("del (a, b)", "del a, b"),
    ("return (yes)", "return yes"),
    ("x: int = (3)", "x:int=3"),
    ("f(\r\n    a,\r\n)", "f(a)"),
]

DIFFERENT = [
    ("self.item_emb = nn.Embedding(1, 2)", "self.items = nn.Embedding(1, 2)"),
    ("nn.Embedding(1, 2)", "nn.Embedding(1, 3)"),
    ("nn.Embedding(1, 2)", "nn.Embedding(1, 2, sparse=True)"),
    ("x = (a + b) * c", "x = a + b * c"),
    ("t = (1,)", "t = (1)"),
    ("x[1,]", "x[1]"),
    ("f((1, 2))", "f(1, 2)"),
    ("s = 'a b'", "s = 'ab'"),
    ("s = r'\\d'", "s = '\\d'"),
    ("a, = f()", "a = f()"),
    ("for i in a:", "for i in b:"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_style_does_not_change_the_form(one: str, other: str) -> None:
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_content_changes_the_form(one: str, other: str) -> None:
    assert canonical(one) != canonical(other)


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_cheap_key_agrees_wherever_the_form_does(one: str, other: str) -> None:
    for text in (one, other):
        source = SourceText.parse(text)
        for statement in source.statements:
            assert statement.key == loose_key(source.canonical(statement))


def test_a_statement_in_a_file_has_the_form_of_its_text_alone() -> None:
    text = "class A:\n  def f(self):\n    if x:\n      self.a = B(1,\n       2)  # c\n"
    source = SourceText.parse(text)
    forms = [source.canonical(statement) for statement in source.statements]
    alone = ["class A:", "def f(self):", "if x:", "self.a=B(1,2)"]
    assert forms == [canonical(text) for text in alone]


def test_a_giant_text_is_compared_as_it_stands() -> None:
    giant = f"x = [{'1, ' * 60_000}]"
    assert canonical(f" {giant}\n") == giant


@given(st.text(max_size=60))
def test_any_text_has_a_form(text: str) -> None:
    assert isinstance(canonical(text), str)


CODE = """\
class Model(nn.Module):
    def __init__(self, num_users:int, num_items : int, dim=64,):
        super().__init__( )
        self.user_emb=nn.Embedding(num_embeddings=num_users,embedding_dim=dim,padding_idx=0)
        self.layers=nn.ModuleList([nn.Linear(a,b) for a,b in zip(dims[:-1],dims[1:])])
        self.tables = {'a':nn.Embedding(1,2),"b":nn.Embedding(3,4),'c':nn.Embedding(5,6)}
        assert isinstance(dim,int), 'expected an integer number of dimensions, got something else'
        self.name=f'{dim!r:>{width}} and {self}' 'tail'
        self.scale = not(dim)
        x = 0XFF if(small) else (1E3)
        self.negate = lambda a,b : (a+b)
        for (a,b) in [(1,2),]: print(a , b)
        with open('a') as f, open('b') as g, open('cccccccccccccccccccccccccccc') as h: pass
        if (a and b): pass
        elif(a): return (self.user_emb(a)*self.item_emb(b)).sum(-1)
    async def wait(self): q = await (fetch(1))
"""


@pytest.mark.parametrize("width", [40, 60, 100])
def test_a_formatter_changes_no_form(tmp_path: Path, width: int) -> None:
    path = tmp_path / "model.py"
    path.write_text(CODE, encoding="utf-8")
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "-q", "--line-length"]
    subprocess.run([*command, str(width), str(path)], check=True)
    formatted = path.read_text(encoding="utf-8")
    assert formatted != CODE
    before, after = SourceText.parse(CODE), SourceText.parse(formatted)
    assert [after.canonical(each) for each in after.statements] == [
        before.canonical(each) for each in before.statements
    ]
