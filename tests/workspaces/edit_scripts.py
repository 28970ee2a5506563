"""Random edits of a real Python file, with the truth about some of its statements.

The truth travels in a second copy of the text, which bears a mark behind each followed statement:
`# pyright: @17@`, a kind of comment whose width a formatter does not count. Every edit is made to
the marked copy; the text that an editor would show is that copy without its marks. A repetition of
a statement is a twin, `@~17@`: where the original goes, the two edits are those of moving it.
"""

from __future__ import annotations

import ast
import random
import re
import subprocess
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import pairwise

from gradtracer.source import ParsedFile
from gradtracer_schemas import SourceFrame
from gradtracer_server.source.anchors import Anchor, gone, resolve
from gradtracer_server.source.broken import scope_by_indentation
from gradtracer_server.source.canonical import canonical
from gradtracer_server.source.index import SourceText
from gradtracer_server.source.renames import renamed, stands_with_another

MARK = re.compile(r"  # pyright: @(~?)(\d+)@")
INSERTED = (
    "# a note",
    "",
    "count = 1",
    'text = """\nself.x = nn.Linear(1, 2)\n"""',
    "if True:\n    value = (1,\n        2)",
)
TYPED = ("self.new = nn.Linear(", "x = [", "def unfinished(", "for", 'name = "open')


@dataclass
class Script:
    """A text under edit."""

    text: str
    frames: list[SourceFrame]
    """The followed statements as a run would have recorded them."""
    recorded: list[SourceFrame]
    """All statements that a run would have recorded."""
    marked: str
    random: random.Random
    done: list[str] = field(default_factory=list[str])
    """The edits so far, by name."""

    @classmethod
    def begin(cls, file: str, text: str, seed: int, most: int = 40) -> Script:
        """Follow up to so many statements that build a layer."""
        chance = random.Random(seed)
        found = followed(file, text)
        frames = chance.sample(found, min(most, len(found)))
        lines = text.split("\n")
        for number, frame in enumerate(frames):
            lines[frame.end_line - 1] += f"  # pyright: @{number}@"
        return cls(text, frames, found, "\n".join(lines), chance)

    def edit(self) -> str:
        """Make one edit; the name of its kind. It may change nothing."""
        kind = self.random.choices(list(_EDITS), [weight for _, weight in _EDITS.values()])[0]
        marked = _EDITS[kind][0](self.marked, self.random)
        if marked is not None:
            self.marked = marked
            self.text = MARK.sub("", marked)
            self.done.append(kind)
        return kind

    def truth(self) -> dict[int, tuple[int, bool]]:
        """By followed statement: its first line now, from 0, and whether it still says the same.

        What was deleted or commented out is missing.
        """
        ends = {
            int(mark[2]): number
            for number, line in enumerate(self.marked.split("\n"))
            for mark in MARK.finditer(line)
            if not mark[1] and not line.lstrip().startswith("#")
        }
        whole = without_typing(self.text)
        lines = whole.split("\n")
        firsts: dict[int, tuple[int, str]] = {}
        for node in ast.walk(ast.parse(whole)):
            end = (getattr(node, "end_lineno", None) or 0) - 1
            if isinstance(node, ast.stmt) and not hasattr(node, "body") and end in ends.values():
                segment = "\n".join(lines[node.lineno - 1 : end + 1])
                firsts[end] = (node.lineno - 1, segment.strip())
        truth: dict[int, tuple[int, bool]] = {}
        for number, end in ends.items():
            if end in firsts:
                first, segment = firsts[end]
                same = canonical(segment) == canonical(self.frames[number].text)
                truth[number] = (first, same)
        return truth

    def twins(self) -> set[int]:
        """The last lines, from 0, of repetitions of followed statements."""
        lines = enumerate(self.marked.split("\n"))
        return {number for number, line in lines for mark in MARK.finditer(line) if mark[1]}


def followed(file: str, text: str) -> list[SourceFrame]:
    """The simple statements of functions that build a layer, and have no comment behind them."""
    parsed = ParsedFile(file, text.splitlines(keepends=True))
    found: dict[int, SourceFrame] = {}

    def visit(node: ast.AST, qualname: str, inside: bool) -> None:
        for child in ast.iter_child_nodes(node):
            name = qualname
            if isinstance(child, ast.ClassDef | ast.FunctionDef):
                joint = ".<locals>." if inside else "."
                name = f"{qualname}{joint}{child.name}" if qualname else child.name
            elif isinstance(child, ast.Assign | ast.Expr) and qualname:
                calls = [each for each in ast.walk(child) if isinstance(each, ast.Call)]
                layer = next((each for each in calls if _is_layer(each)), None)
                frame = parsed.call_frame(layer, qualname) if layer is not None else None
                ended = parsed.lines[(child.end_lineno or 1) - 1].rstrip()
                if frame is not None and "#" not in ended and len(ended) == child.end_col_offset:
                    found[frame.end_line] = frame
            visit(child, name, isinstance(child, ast.FunctionDef))

    if parsed.tree is not None:
        visit(parsed.tree, "", False)
    return list(found.values())


def place(
    frame: SourceFrame,
    source: SourceText,
    near: int | None,
    recorded: list[SourceFrame],
    known_scopes: Collection[str] | None = None,
) -> Anchor:
    """Where a diagnosis of the layer would be shown, as `findings` does it."""
    anchor = resolve(frame, source, near, known_scopes)
    if stands_with_another(anchor, frame, source, recorded):
        anchor = gone(frame)
    if anchor.state == "gone":
        return renamed(frame, source, recorded) or anchor
    return anchor


def judge(script: Script, anchor: Anchor, truth: tuple[int, bool] | None) -> str:
    """`right`, `outdated`, `lost` or `wrong`: see `bench_map`."""
    if anchor.range is not None and anchor.range.end.line in script.twins():
        lines = script.text.split("\n")
        places = (anchor.range.start.line, truth[0] if truth else 0)
        scopes = [scope_by_indentation(lines, line) for line in places]
        if truth is None or not truth[1] or scopes[0] == scopes[1]:
            # Nothing tells a copy whose original then went, or took another name, from a move.
            return "outdated" if anchor.state == "outdated" else "right"
    if anchor.range is None:
        if truth is None:
            return "right"
        return "lost" if truth[1] else "outdated"
    if truth is None or anchor.range.start.line != truth[0]:
        return "wrong"
    if anchor.state == "outdated":
        return "lost" if truth[1] else "outdated"
    return "right" if truth[1] else "wrong"


def without_typing(text: str) -> str:
    """The text without the line that someone is typing."""
    return "\n".join("" if line.strip() in TYPED else line for line in text.split("\n"))


def _is_layer(call: ast.Call) -> bool:
    called = call.func
    return isinstance(called, ast.Attribute) and getattr(called.value, "id", "") == "nn"


def _statement_lines(text: str) -> list[tuple[int, int, str]]:
    """First and last line of each simple statement, and its indentation."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return []
    lines = text.split("\n")
    found = [
        (node.lineno - 1, (node.end_lineno or node.lineno) - 1, lines[node.lineno - 1])
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and not hasattr(node, "body")
    ]
    return [(a, b, line[: len(line) - len(line.lstrip())]) for a, b, line in found]


def _insert(text: str, chance: random.Random) -> str | None:
    places = _statement_lines(text)
    if not places:
        return None
    line, _, indent = chance.choice(places)
    lines = text.split("\n")
    lines[line:line] = [indent + part for part in chance.choice(INSERTED).split("\n")]
    return _if_valid("\n".join(lines))


def _repeat(text: str, chance: random.Random) -> str | None:
    """A followed statement once more, in another place: a decoy."""
    marked = _marked(text)
    places = _statement_lines(text)
    if not marked or not places:
        return None
    first, last, _ = chance.choice(marked)
    line, _, indent = chance.choice(places)
    lines = text.split("\n")
    copied = [MARK.sub("", each).strip() for each in lines[first : last + 1]]
    mark = MARK.search(lines[last])
    copied[-1] += f"  # pyright: @~{mark[2]}@" if mark is not None else ""
    lines[line:line] = [indent + each for each in copied]
    return _if_valid("\n".join(lines))


def _delete(text: str, chance: random.Random) -> str | None:
    places = _marked(text) if chance.random() < 0.5 else _statement_lines(text)
    if not places:
        return None
    first, last, _ = chance.choice(places)
    lines = text.split("\n")
    del lines[first : last + 1]
    return _if_valid("\n".join(lines))


def _comment_out(text: str, chance: random.Random) -> str | None:
    marked = _marked(text)
    if not marked:
        return None
    first, last, indent = chance.choice(marked)
    lines = text.split("\n")
    for line in range(first, last + 1):
        lines[line] = f"{indent}# {lines[line].strip()}"
    return _if_valid("\n".join(lines))


def _rename_attribute(text: str, chance: random.Random) -> str | None:
    return _in_statement(text, chance, r"self\.(\w+)( =)", rf"self.\1_{chance.randrange(99)}\2")


def _change_argument(text: str, chance: random.Random) -> str | None:
    return _in_statement(text, chance, r"(nn\.\w+\()", rf"\g<1>{chance.randrange(9)}, ")


def _in_statement(text: str, chance: random.Random, pattern: str, new: str) -> str | None:
    marked = _marked(text)
    if not marked:
        return None
    first, last, _ = chance.choice(marked)
    lines = text.split("\n")
    statement = "\n".join(lines[first : last + 1])
    lines[first : last + 1] = re.sub(pattern, new, statement, count=1).split("\n")
    return _if_valid("\n".join(lines))


def _classes(text: str) -> list[ast.ClassDef]:
    try:
        return [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    except SyntaxError:
        return []


def _move_class(text: str, chance: random.Random) -> str | None:
    classes = _classes(text)
    if len(classes) < 2:
        return None
    moved, before = chance.sample(classes, 2)
    lines = text.split("\n")
    first = min([moved.lineno, *(each.lineno for each in moved.decorator_list)]) - 1
    body = lines[first : moved.end_lineno]
    place = min([before.lineno, *(each.lineno for each in before.decorator_list)]) - 1
    rest = lines[:first] + lines[moved.end_lineno :]
    if place > first:
        place -= len(body)
    return _if_valid("\n".join([*rest[:place], *body, "", "", *rest[place:]]))


def _rename_class(text: str, chance: random.Random) -> str | None:
    classes = _classes(text)
    if not classes:
        return None
    name = chance.choice(classes).name
    return re.sub(rf"\b{name}\b", f"{name}V{chance.randrange(9)}", text)


def _swap(text: str, chance: random.Random) -> str | None:
    """A statement changes places with the next one, as by Alt+Up."""
    places = sorted(_statement_lines(text))
    pairs = [(a, b) for a, b in pairwise(places) if a[2] == b[2]]
    pairs = [(a, b) for a, b in pairs if b[0] == a[1] + 1]
    if not pairs:
        return None
    one, other = chance.choice(pairs)
    lines = text.split("\n")
    first, second = lines[one[0] : one[1] + 1], lines[other[0] : other[1] + 1]
    lines[one[0] : other[1] + 1] = [*second, *first]
    return _if_valid("\n".join(lines))


def _format(text: str, chance: random.Random) -> str | None:
    """A formatter's text; the marks follow their statements, as they may not count as width."""
    names = list(FORMATTERS)
    name = chance.choice(names) if len(names) > 1 else names[0]
    command = FORMATTERS[name](chance.choice([60, 79, 88, 100, 120, 160]))
    plain = MARK.sub("", text)
    done = subprocess.run(command, input=plain, capture_output=True, text=True, check=False)
    return _carried(text, plain, done.stdout) if done.returncode == 0 else None


def _carried(marked: str, plain: str, after: str) -> str | None:
    """The marks behind the same statements of a text whose syntax tree is the same."""
    old, new = _ends(plain), _ends(after)
    if len(old) != len(new):
        return None
    lines = after.split("\n")
    before = marked.split("\n")
    # Of several statements on a line, the last bears the mark.
    for there, here in dict(zip(old, new, strict=True)).items():
        lines[here] += "".join(mark[0] for mark in MARK.finditer(before[there]))
    return "\n".join(lines)


def _ends(text: str) -> list[int]:
    """The last lines of the simple statements, in the order of the text."""
    return [last for _, last, _ in sorted(_statement_lines(text), key=lambda each: each[:2])]


def _ruff(width: int) -> list[str]:
    options = ["--isolated", "-q", "-", "--stdin-filename", "file.py"]
    return [sys.executable, "-m", "ruff", "format", "--line-length", str(width), *options]


FORMATTERS: dict[str, Callable[[int], list[str]]] = {"ruff": _ruff}
"""Commands that format their input at a width."""


def _type(text: str, chance: random.Random) -> str | None:
    """Half a line: the syntax is broken until the next edit of this kind takes it away."""
    whole = without_typing(text)
    if whole != text:
        return whole
    places = _statement_lines(text)
    if not places:
        return None
    line, _, indent = chance.choice(places)
    lines = text.split("\n")
    lines[line:line] = [indent + chance.choice(TYPED)]
    return "\n".join(lines)


def _marked(text: str) -> list[tuple[int, int, str]]:
    lines = text.split("\n")
    return [each for each in _statement_lines(text) if _is_original(lines[each[1]])]


def _is_original(line: str) -> bool:
    mark = MARK.search(line)
    return mark is not None and not mark[1]


def _if_valid(text: str) -> str | None:
    try:
        ast.parse(text)
    except SyntaxError:
        return None
    return text


_EDITS = {
    "insert": (_insert, 6),
    "repeat": (_repeat, 2),
    "delete": (_delete, 3),
    "comment out": (_comment_out, 1),
    "rename attribute": (_rename_attribute, 2),
    "change argument": (_change_argument, 2),
    "move class": (_move_class, 1),
    "rename class": (_rename_class, 1),
    "swap": (_swap, 2),
    "format": (_format, 1),
    "type": (_type, 1),
}
"""Each kind of edit, and how often it comes."""
