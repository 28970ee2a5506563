"""What stands where in a compressed model: enough to make room in a fresh one for its bytes."""

from __future__ import annotations

from typing import Literal, cast

import msgspec
import torch
from torch import nn

from gradtracer.compression.packed_layers import PackedEmbedding, PackedEmbeddingBag, PackedLinear
from gradtracer.compression.packed_table import PackedTable, TableLayout
from gradtracer.compression.structure import FactorisedTable
from gradtracer.exceptions import NotCompressed

Mode = Literal["sum", "mean", "max"]
Kind = Literal[
    "packed_embedding",
    "packed_bag",
    "packed_linear",
    "embedding",
    "bag",
    "linear",
    "factorised_table",
    "sequential",
]


class ModuleLayout(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One layer that compression may have put in place of another."""

    kind: Kind
    """What it is."""
    rows: int = 0
    """Rows of a table, outputs of a linear layer."""
    width: int = 0
    """Columns of a table, inputs of a linear layer."""
    table: str = ""
    """For a packed layer: the first name of the layer that holds its table."""
    bias: bool = False
    """For a linear layer."""
    mode: Mode = "mean"
    """For a bag."""
    padding_idx: int | None = None
    """For a table or a bag."""
    include_last_offset: bool = False
    """For a bag."""


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """All such layers of a model, by dotted path, outer ones first."""

    version: int = 1
    """Of this form; a reader refuses a later one."""
    model: str = ""
    """Class name of the model."""
    factory: str = ""
    """`module:function` that builds the model as it was before; empty: not said."""
    modules: dict[str, ModuleLayout] = {}
    """By dotted path."""
    tables: dict[str, TableLayout] = {}
    """Of packed tables, by the first layer that holds each."""
    same: dict[str, str] = {}
    """Further names of a saved tensor, with its first."""


def describe(model: nn.Module, factory: str = "") -> Layout:
    """Write down the layers of a compressed model that a fresh one lacks or has otherwise."""
    modules: dict[str, ModuleLayout] = {}
    tables: dict[str, TableLayout] = {}
    first: dict[int, str] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, PackedEmbedding | PackedEmbeddingBag | PackedLinear):
            owner = first.setdefault(id(module.table), name)
            tables.setdefault(owner, module.table.layout)
            modules[name] = _of_packed(module, owner)
        elif isinstance(module, FactorisedTable):
            modules[name] = ModuleLayout(kind="factorised_table", width=module.embedding_dim)
        elif type(module) is nn.Sequential and len(module) == 2:
            modules[name] = ModuleLayout(kind="sequential")
        elif type(module) is nn.Linear:
            modules[name] = ModuleLayout(
                kind="linear",
                rows=module.out_features,
                width=module.in_features,
                bias=module.bias is not None,  # type: ignore[reportUnnecessaryComparison]
            )
        elif type(module) is nn.Embedding:
            rows, width = module.weight.shape
            modules[name] = ModuleLayout(
                kind="embedding", rows=rows, width=width, padding_idx=module.padding_idx
            )
        elif type(module) is nn.EmbeddingBag:
            rows, width = module.weight.shape
            modules[name] = ModuleLayout(
                kind="bag",
                rows=rows,
                width=width,
                mode=module.mode,  # type: ignore[arg-type]
                padding_idx=module.padding_idx,
                include_last_offset=module.include_last_offset,
            )
    return Layout(model=type(model).__name__, factory=factory, modules=modules, tables=tables)


def make_room(model: nn.Module, layout: Layout) -> nn.Module:
    """Put into a fresh model the layers that a compressed one has; their numbers are still to come.

    Layers that are there already, of the right shape, stay the objects they are.

    Raises:
        NotCompressed: the model has no place for a layer.
    """
    tables: dict[str, PackedTable] = {}
    for name, wanted in layout.modules.items():
        owner_name, _, attribute = name.rpartition(".")
        try:
            owner = model.get_submodule(owner_name)
        except AttributeError:
            raise NotCompressed(
                f"expected a {layout.model or 'model'} with a module {owner_name}, got "
                f"{type(model).__name__}, which has none"
            ) from None
        present = model if name == "" else dict(owner.named_children()).get(attribute)
        if present is None and not isinstance(owner, nn.Sequential | FactorisedTable):
            raise NotCompressed(
                f"expected a {layout.model or 'model'} with a layer {name}, got "
                f"{type(model).__name__}, which has none"
            )
        if present is not None and _is(present, wanted):
            continue
        device = next((each.device for each in model.parameters()), torch.device("cpu"))
        layer = _build(wanted, layout, tables, device)
        if name == "":
            model = layer
        else:
            setattr(owner, attribute, layer)
    return model


def _of_packed(
    module: PackedEmbedding | PackedEmbeddingBag | PackedLinear, table: str
) -> ModuleLayout:
    if isinstance(module, PackedLinear):
        return ModuleLayout(kind="packed_linear", table=table, bias=module.bias is not None)
    if isinstance(module, PackedEmbedding):
        return ModuleLayout(kind="packed_embedding", table=table, padding_idx=module.padding_idx)
    return ModuleLayout(
        kind="packed_bag",
        table=table,
        mode=cast(Mode, module.mode),
        padding_idx=module.padding_idx,
        include_last_offset=module.include_last_offset,
    )


def _is(module: nn.Module, wanted: ModuleLayout) -> bool:
    match wanted.kind:
        case "sequential":
            return type(module) is nn.Sequential
        case "linear":
            return type(module) is nn.Linear and (
                (module.out_features, module.in_features) == (wanted.rows, wanted.width)
            )
        case "embedding":
            return type(module) is nn.Embedding and _has(module, wanted)
        case "bag":
            return type(module) is nn.EmbeddingBag and _has(module, wanted)
        case _:
            return False


def _has(module: nn.Embedding | nn.EmbeddingBag, wanted: ModuleLayout) -> bool:
    return tuple(module.weight.shape) == (wanted.rows, wanted.width)


def _build(
    wanted: ModuleLayout, layout: Layout, tables: dict[str, PackedTable], device: torch.device
) -> nn.Module:
    match wanted.kind:
        case "sequential":
            return nn.Sequential()
        case "factorised_table":
            return FactorisedTable(nn.Identity(), nn.Identity(), wanted.width)
        case "linear":
            return nn.Linear(wanted.width, wanted.rows, bias=wanted.bias, device=device)
        case "embedding":
            return nn.Embedding(
                wanted.rows, wanted.width, padding_idx=wanted.padding_idx, device=device
            )
        case "bag":
            return nn.EmbeddingBag(
                wanted.rows,
                wanted.width,
                mode=wanted.mode,
                padding_idx=wanted.padding_idx,
                include_last_offset=wanted.include_last_offset,
                device=device,
            )
        case "packed_embedding" | "packed_bag" | "packed_linear":
            pass
    if wanted.table not in layout.tables:
        raise NotCompressed(f"expected the layout of the table of {wanted.table!r}, got none")
    described = layout.tables[wanted.table]
    table = tables.setdefault(wanted.table, PackedTable(described, device))
    if wanted.kind == "packed_embedding":
        return PackedEmbedding(table, wanted.padding_idx)
    if wanted.kind == "packed_linear":
        bias = (
            nn.Parameter(torch.zeros(described.rows, device=device, dtype=torch.float32))
            if wanted.bias
            else None
        )
        return PackedLinear(table, bias)
    return PackedEmbeddingBag(
        table,
        wanted.mode,
        padding_idx=wanted.padding_idx,
        include_last_offset=wanted.include_last_offset,
    )
