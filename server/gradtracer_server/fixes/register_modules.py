"""Keep modules where PyTorch finds them: in an `nn.ModuleList` or `nn.ModuleDict`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tree_sitter import Node

from gradtracer_server.exceptions import AlreadyApplied, NotApplicable
from gradtracer_server.fixes import names
from gradtracer_server.fixes.calls import ancestor, callee_name, original_name, text_of
from gradtracer_server.fixes.imports import named
from gradtracer_server.fixes.proposal import FixContext, Plan
from gradtracer_server.source.edits import TextEdit
from gradtracer_server.source.index import SourceText

NAME = "register-modules"
TITLE = "Register the modules"

_LISTS = ("list", "list_comprehension", "tuple", "expression_list")
_DICTS = ("dictionary", "dictionary_comprehension")
_REGISTERS = ("ModuleList", "ModuleDict")
_LACKS = {
    "ModuleList": "clear|copy|count|index|remove|reverse|sort",
    "ModuleDict": "copy|get|popitem|setdefault",
}
"""Methods of a list and of a dict that these have not."""


@dataclass(frozen=True)
class _Assigned:
    """What the attribute is assigned."""

    value: Node
    path: Path
    source: SourceText
    register: str


def plan(context: FixContext) -> Plan:
    """Build the list that PyTorch knows from what is assigned."""
    attribute = _offered(context)
    found = _find(context, attribute)
    value, source = found.value, found.source
    register = named(source, f"torch.nn.{found.register}", value)
    given = text_of(value)
    if value.type == "expression_list":
        given = f"[{given}]"
    elif not value.named_children:
        given = ""
    edits = [*register.edits, TextEdit(source.range_of(value), f"{register.text}({given})")]
    line = value.start_point.row + 1
    title = f"Make {attribute} an nn.{found.register}, which PyTorch looks into: line {line}"
    return Plan(title, {found.path: (source, edits)})


def locate(context: FixContext) -> None:
    """Find what the attribute is assigned, and go no further. Raises as `plan` does."""
    _find(context, _offered(context))


def _offered(context: FixContext) -> str:
    given = context.offer.parameters if context.offer is not None else {}
    attribute = given.get("holder")
    if not isinstance(attribute, str) or not attribute.isidentifier():
        raise NotApplicable(f"expected the attribute that holds the modules, got {attribute!r}")
    return attribute


def _find(context: FixContext, attribute: str) -> _Assigned:
    for path, source, anchor in context.frames(context.diagnosis.site):
        statement = None if anchor.focus is None else source.statement_at(anchor.focus.start)
        node = None if statement is None else source.node_of(statement)
        owner = None if node is None else ancestor(node, "class_definition")
        found = [] if owner is None else names.self_assignments(owner, attribute)
        assigned = [value for value in found if _is_set(value)]
        if len(assigned) == 1:
            return _read(assigned[0], attribute, path, source)
        if assigned:
            raise NotApplicable(f"self.{attribute} is set in {len(assigned)} places of its class")
    raise NotApplicable(f"where self.{attribute} is set cannot be read from the source")


def _is_set(value: Node) -> bool:
    around = value.parent
    return around is not None and around.type == "assignment"


def _read(value: Node, attribute: str, path: Path, source: SourceText) -> _Assigned:
    line = value.start_point.row + 1
    if value.type == "call" and original_name(source, callee_name(value)) in _REGISTERS:
        raise AlreadyApplied(f"self.{attribute} is an nn.{callee_name(value)} on line {line}")
    plain = value.type in _LISTS or value.type in _DICTS
    if not plain:
        raise NotApplicable(
            f"self.{attribute} on line {line} is no list or dict as it stands there; make it an "
            "nn.ModuleList or nn.ModuleDict once all is in it"
        )
    register = "ModuleDict" if value.type in _DICTS else "ModuleList"
    method = re.search(rf"\b{attribute}\s*\.\s*({_LACKS[register]})\s*\(", source.text)
    if method is not None:
        raise NotApplicable(f"{method[0]}) is called, and an nn.{register} has no {method[1]}")
    function = ancestor(value, "function_definition")
    if function is not None and text_of(function.child_by_field_name("name")) == "__init__":
        before = source.data[function.start_byte : value.start_byte]
        if not re.search(rb"\)\s*\.\s*__init__\s*\(|\w\.__init__\s*\(", before):
            raise NotApplicable(
                f"super().__init__() is not called before line {line}: until then a module can "
                "hold no other"
            )
    return _Assigned(value, path, source, register)
