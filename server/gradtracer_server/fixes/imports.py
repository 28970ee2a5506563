"""How a file names what a fix needs, and the import it lacks."""

from __future__ import annotations

from dataclasses import dataclass, field

from tree_sitter import Node

from gradtracer_server.fixes import names
from gradtracer_server.fixes.calls import text_of
from gradtracer_server.fixes.insertion import insert, line_break
from gradtracer_server.source.edits import TextEdit
from gradtracer_server.source.index import SourceText

_SCOPES = frozenset({"class_definition", "function_definition", "lambda"})


@dataclass(frozen=True)
class Named:
    """How to write a name at a place."""

    text: str
    """The expression."""
    edits: list[TextEdit] = field(default_factory=list[TextEdit])
    """The import it needs; empty when the file has it."""


def named(source: SourceText, dotted: str, at: Node) -> Named:
    """How to write `torch.optim.SparseAdam` at a node, by what its file imports already.

    The nearest import wins: the name itself, then its module, then a package around it. Where there
    is none, a list that the file imports from the module gets one name more, or `import` is added.
    """
    known = {
        local: target
        for local, (target, _) in _imported(source).items()
        if not _hidden(at, local) and f"{dotted}.".startswith(f"{target}.")
    }
    if known:
        local = max(known, key=lambda name: (len(known[name]), -len(name)))
        return Named(local + dotted[len(known[local]) :])
    module, _, name = dotted.rpartition(".")
    beside = [
        statement
        for target, statement in _imported(source).values()
        if statement.type == "import_from_statement"
        and target.rpartition(".")[0] == module
        and text_of(statement.child_by_field_name("module_name")) == module
    ]
    if beside and not _hidden(at, name):
        last = beside[-1].children_by_field_name("name")[-1]
        return Named(name, [insert(source, last.end_byte, f", {name}")])
    package = dotted.partition(".")[0]
    return Named(dotted, [_new_import(source, f"import {package}")])


def _imported(source: SourceText) -> dict[str, tuple[str, Node]]:
    """What each name imported by the module stands for, and the statement that imports it."""
    found: dict[str, tuple[str, Node]] = {}
    for statement in source.statements_of("import_statement", "import_from_statement"):
        if statement.scope != "<module>":
            continue
        node = source.node_of(statement)
        module = text_of(node.child_by_field_name("module_name"))
        for child in node.children_by_field_name("name"):
            alias = child.child_by_field_name("alias")
            own = text_of(child.child_by_field_name("name") or child)
            if node.type == "import_from_statement":
                found[text_of(alias) or own] = (f"{module}.{own}", node)
            elif alias is not None:
                found[text_of(alias)] = (own, node)
            else:
                package = own.partition(".")[0]
                found[package] = (package, node)
    return found


def _hidden(at: Node, name: str) -> bool:
    """Whether a function around a node has a name of its own that reads so."""
    around = at.parent
    while around is not None:
        if around.type in _SCOPES and (
            names.bindings(around, name)
            or (around.type != "class_definition" and names.parameter(around, name) is not None)
        ):
            return True
        around = around.parent
    return False


def _new_import(source: SourceText, text: str) -> TextEdit:
    """An import of its own after the first imports of the file, else after its docstring."""
    last: Node | None = None
    end = line_break(source)
    for child in source.root.children:
        docstring = child.type == "expression_statement" and (
            child.named_child_count == 1 and child.named_children[0].type == "string"
        )
        if "import" in child.type or (docstring and last is None):
            last = child
        elif child.type != "comment":
            break
    if last is not None:
        row = last.end_point.row
        place = source.offset(source.range_of(last).end)
        rest = source.lines[row][source.range_of(last).end.column :]
        if rest.strip().startswith(";"):
            return insert(source, last.end_byte, f"; {text}")
        return insert(source, source.byte(place + len(rest)), f"{end}{text}")
    first = next((c for c in source.root.children if c.type != "comment"), None)
    byte = 0 if first is None else first.start_byte
    if byte == 0 and source.text.startswith("\ufeff"):
        byte = len("\ufeff".encode())
    return insert(source, byte, f"{text}{end}")
