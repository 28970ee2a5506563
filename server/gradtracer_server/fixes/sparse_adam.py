"""A `SparseAdam` for one table beside the optimizer of the rest."""

from __future__ import annotations

import re

from tree_sitter import Node

from gradtracer_server.exceptions import NotApplicable
from gradtracer_server.fixes import names
from gradtracer_server.fixes.calls import ancestor, arguments, callee_name, original_name, text_of
from gradtracer_server.fixes.imports import named
from gradtracer_server.fixes.insertion import after, insert, new_item, statement_around
from gradtracer_server.fixes.literals import scope_of
from gradtracer_server.fixes.optimizer import Construction
from gradtracer_server.fixes.parameter_groups import parameters_argument, whole_model
from gradtracer_server.fixes.proposal import FixContext
from gradtracer_server.fixes.tables import table
from gradtracer_server.fixes.watched_model import is_watched, part
from gradtracer_server.source.edits import TextEdit

ADAM_FAMILY = frozenset({"Adam", "AdamW", "Adamax", "NAdam", "RAdam"})
"""Optimizers whose step `SparseAdam` takes on the rows of a batch, but for weight decay."""

_DEFAULT_OF_BOTH = frozenset({"Adam", "AdamW"})
_KEPT = ("betas", "eps")


def own_optimizer(
    built: Construction, path: str, context: FixContext
) -> tuple[list[TextEdit], str]:
    """The edits of the optimizer's file, and what they do.

    Raises `NotApplicable` where the optimizer is used in a way that the second one would miss.
    """
    statement = statement_around(built.call)
    name = _kept_as(statement, built)
    scope = _scope(name, built)
    model, excluded = _model(built, path, context)
    weight = part(model, path, built.place(context))
    _check_others_remain(path, excluded, context)
    sparse = re.sub(r"(\w+)$", r"sparse_\1", name)
    edits = [_without(built, model, weight, excluded)]
    known = _known(sparse, scope)
    if known is not None:
        listed = known.named_children[0] if known.named_children else None
        if listed is None or listed.type != "list":
            raise NotApplicable(f"what {sparse} holds cannot be read")
        edits += new_item(built.source, listed, weight)
        return edits, f"and add it to {sparse}"
    own = named(built.source, "torch.optim.SparseAdam", built.call)
    settings = "".join(f", {setting}" for setting in _settings(built))
    edits += [
        *own.edits,
        after(built.source, statement, [f"{sparse} = {own.text}([{weight}]{settings})"]),
        *_steps(name, sparse, scope, built, statement),
    ]
    return edits, "with SparseAdam (no weight decay) for this table"


def _kept_as(statement: Node, built: Construction) -> str:
    """The name under which the optimizer is kept."""
    inner = statement.named_children[0] if statement.named_child_count else None
    if inner is not None and inner.type == "assignment":
        left = inner.child_by_field_name("left")
        if inner.child_by_field_name("right") == built.call and left is not None:
            name = "".join(text_of(left).split())
            if re.fullmatch(r"(self\.)?[^\W\d]\w*", name):
                return name
    raise NotApplicable(f"the optimizer built on line {built.line} is not kept under a plain name")


def _scope(name: str, built: Construction) -> Node:
    around = (
        ancestor(built.call, "class_definition")
        if name.startswith("self.")
        else scope_of(built.call)
    )
    return built.source.root if around is None else around


def _model(built: Construction, path: str, context: FixContext) -> tuple[Node, Node | None]:
    """The model whose parameters are trained, and the condition that excludes some already."""
    value = parameters_argument(built)
    condition = None
    if value.type == "list_comprehension":
        clauses = [c for c in value.named_children if c.type == "for_in_clause"]
        conditions = [c for c in value.named_children if c.type == "if_clause"]
        if len(clauses) == len(conditions) == 1 and " is not " in text_of(conditions[0]):
            condition = conditions[0]
            value = clauses[0].child_by_field_name("right") or value
    owner = whole_model(value)
    if owner is None:
        raise NotApplicable(
            f"the optimizer on line {built.line} is not given all of model.parameters()"
        )
    if not is_watched(owner, built.place(context), context, path):
        raise NotApplicable(f"whether {text_of(owner)} is the model that was watched is not known")
    return owner, condition


def _check_others_remain(path: str, excluded: Node | None, context: FixContext) -> None:
    """An optimizer without parameters cannot be built: something else must be left to it."""
    owner = ancestor(table(context).call, "class_definition")
    if owner is None or path.count(".") > 1:
        return
    gone = {path.partition(".")[0], *re.findall(r"\.(\w+)\.weight", text_of(excluded))}
    left = [
        statement
        for attribute, statement in names.attributes(owner).items()
        if attribute not in gone and statement.type == "call"
    ]
    bases = text_of(owner.child_by_field_name("superclasses"))
    if not left and re.fullmatch(r"\(\s*([\w.]+\.)?Module\s*,?\s*\)", bases):
        raise NotApplicable(
            "the tables are all that the model has, and the optimizer would have no parameters: "
            "build one SparseAdam from model.parameters()"
        )


def _without(built: Construction, model: Node, weight: str, excluded: Node | None) -> TextEdit:
    """The parameters but for the table's."""
    source = built.source
    if excluded is not None:
        return insert(source, excluded.end_byte, f" and p is not {weight}")
    value = parameters_argument(built)
    text = f"[p for p in {text_of(model)}.parameters() if p is not {weight}]"
    return TextEdit(source.range_of(value), text)


def _known(sparse: str, scope: Node) -> Node | None:
    """The arguments of a `SparseAdam` that an earlier fix made."""
    found = (
        names.self_assignments(scope, sparse.removeprefix("self."))
        if sparse.startswith("self.")
        else names.bindings(scope, sparse)
    )
    if not found:
        return None
    value = found[0]
    if len(found) == 1 and value is not None and callee_name(value) == "SparseAdam":
        return value.child_by_field_name("arguments")
    raise NotApplicable(f"{sparse} stands for something else already")


def _settings(built: Construction) -> list[str]:
    """The learning rate, and what else the two have in common, as they are written."""
    passed = built.passed
    if passed.unpacked or passed.unpacked_keywords:
        raise NotApplicable(f"the call on line {built.line} unpacks its arguments")
    lr = passed.value(1, "lr")
    name = original_name(built.source, callee_name(built.call))
    if lr is None and name not in _DEFAULT_OF_BOTH:
        raise NotApplicable(f"lr is not passed on line {built.line}; SparseAdam has another one")
    kept = [] if lr is None else [f"lr={text_of(lr)}"]
    for key in _KEPT:
        value = passed.value(None, key)
        if value is not None:
            kept.append(f"{key}={text_of(value)}")
    return kept


def _steps(
    name: str, sparse: str, scope: Node, built: Construction, statement: Node
) -> list[TextEdit]:
    """The second optimizer's steps beside those of the first."""
    source, edits, stepped = built.source, list[TextEdit](), False
    for node in _mentions(name, scope, built):
        if statement.start_byte <= node.start_byte < statement.end_byte:
            continue
        line = node.start_point.row + 1
        call = _call_of(node)
        method = "" if call is None else callee_name(call)
        passed = None if call is None else arguments(call)
        own = None if call is None else call.parent
        if (
            passed is not None
            and own is not None
            and own.type == "expression_statement"
            and method in ("step", "zero_grad")
        ):
            if method == "step" and (passed.positional or passed.keywords):
                raise NotApplicable(f"the step on line {line} computes its loss in a closure")
            stepped = stepped or method == "step"
            edits.append(after(source, own, [f"{sparse}.{method}{text_of(passed.node)}"]))
        elif not _only_watched(node):
            raise NotApplicable(f"{name} is also used on line {line}, where two would be needed")
    if not stepped:
        raise NotApplicable(f"no line here calls {name}.step()")
    return edits


def _mentions(name: str, scope: Node, built: Construction) -> list[Node]:
    """The expressions that read so in a scope."""
    found: list[Node] = []
    data = built.source.data
    pattern = re.compile(rb"(?<![\w.])" + re.escape(name.encode()) + rb"(?!\w)")
    for match in pattern.finditer(data, scope.start_byte, scope.end_byte):
        node = built.source.root.descendant_for_byte_range(*match.span())
        if node is None or node.type not in ("identifier", "attribute"):
            continue
        around = node.parent
        keyword = around is not None and around.type == "keyword_argument"
        named = keyword and around is not None and around.child_by_field_name("name") == node
        if not named and not _is_anothers(node, name, scope):
            found.append(node)
    return found


def _is_anothers(node: Node, name: str, scope: Node) -> bool:
    """Whether a function within a scope has the name for something of its own."""
    if name.startswith("self."):
        return False
    inner, around = node, node.parent
    while around is not None and around != scope:
        if around.type in ("parameters", "lambda_parameters") and inner.type != "default_parameter":
            return True
        own = around.type == "function_definition" and inner.type == "block"
        if own and (names.parameter(around, name) is not None or names.bindings(around, name)):
            return True
        inner, around = around, around.parent
    return False


def _call_of(node: Node) -> Node | None:
    """The call of a method of a node."""
    around = node.parent
    if around is None or around.type != "attribute" or around.child_by_field_name("object") != node:
        return None
    call = around.parent
    return call if call is not None and call.type == "call" else None


def _only_watched(node: Node) -> bool:
    """Whether a node is an argument of `gradtracer.watch`."""
    call = ancestor(node, "call")
    return call is not None and callee_name(call) == "watch"
