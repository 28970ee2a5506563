"""A recipe's changes of shape, made in full precision: what is left of the recipe is storage.

Tables narrowed together, tables and linear layers factorised, units taken out. The result is an
ordinary model that can be trained further, or packed by the recipe that comes with it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import msgspec
import torch
from torch import Tensor, nn

from gradtracer.compression.factorisation import gram, groups, joint_maps, table_map
from gradtracer.compression.recipe_file import matching_key
from gradtracer.compression.row_set import unpack_rows
from gradtracer.exceptions import RecipeError
from gradtracer_schemas import LayerRecipe, Quantization, Recipe, RowSet

Table = nn.Embedding | nn.EmbeddingBag
ROWS, PROJECTION = "rows", "projection"
"""Names of the parts of a `FactorisedTable`."""
INNER, OUTER = "0", "1"
"""Names of the parts of a factorised linear layer."""


class FactorisedTable(nn.Module):
    """A table of `rank` columns and the matrix that takes a look-up back to the full width.

    `weight` is the table it stands for, computed anew each time it is read.
    """

    def __init__(self, rows: nn.Module, projection: nn.Module, width: int) -> None:
        super().__init__()
        self.rows = rows
        self.projection = projection
        self.embedding_dim = width

    def forward(self, *args: Tensor | None, **kwargs: Tensor | None) -> Tensor:
        """As the table's, whatever it takes."""
        return self.projection(self.rows(*args, **kwargs))

    def scores(self, x: Tensor) -> Tensor:
        """Scores x Wᵀ `[..., N]` of `x` `[..., D]`, through the narrow columns."""
        inner = x @ self.projection.weight  # type: ignore[operator]
        scores = getattr(self.rows, "scores", None)
        return scores(inner) if scores is not None else inner @ self.rows.weight.T  # type: ignore[operator]

    @property
    def num_embeddings(self) -> int:
        """Rows of the table."""
        return self.rows.num_embeddings  # type: ignore[return-value]

    @property
    def padding_idx(self) -> int | None:
        """As the table's."""
        return getattr(self.rows, "padding_idx", None)

    @property
    def weight(self) -> Tensor:
        """`[N, D]` of the table it stands for."""
        return self.projection(self.rows.weight)


def narrow(model: nn.Module, recipe: Recipe) -> tuple[nn.Module, Recipe]:
    """Return a copy of the model with the recipe's shapes, and the recipe of storage for it.

    Args:
        model: Is left as it is.
        recipe: Its `factor`, `low_rank`, `kept_units` and `kept_inputs` are applied.

    Raises:
        RecipeError: a layer has another shape, or less width than the rank, or is of a kind that
            cannot be changed so, or shares its weight.
    """
    model = copy.deepcopy(model)
    chosen = dict(_chosen(model, recipe))
    _check(model, chosen)
    rest = {key: entry and _stored(entry) for key, entry in recipe.layers.items()}
    factored = {
        name: entry.factor.partners
        for name, entry in chosen.items()
        if entry.factor is not None and entry.factor.partners
    }
    for group in groups(factored):
        _narrow_together(model, {name: chosen[name] for name in group})
    for name, entry in chosen.items():
        after = _stored(entry)
        module = model.get_submodule(name)
        if name in factored:
            rest[name] = after
        elif entry.factor is not None:
            _replace(model, name, _factorised_table(name, module, entry))
            rest[f"{name}.{ROWS}"] = after
            rest[f"{name}.{PROJECTION}"] = LayerRecipe(quantization=projection_format(entry))
            rest.pop(name, None)
        elif entry.low_rank is not None:
            if not isinstance(module, nn.Linear):
                raise _wrong_kind(name, "low_rank", "an nn.Linear", module)
            pair = low_rank_linear(_kept(name, module, entry), entry.low_rank)
            _replace(model, name, pair)
            rest[f"{name}.{INNER}"] = rest[f"{name}.{OUTER}"] = after
            rest.pop(name, None)
        elif entry.kept_units is not None or entry.kept_inputs is not None:
            if not isinstance(module, nn.Linear):
                raise _wrong_kind(name, "kept_units", "an nn.Linear", module)
            _replace(model, name, _kept(name, module, entry))
            rest[name] = after
    return model, msgspec.structs.replace(recipe, layers=rest)


def low_rank_linear(layer: nn.Linear, rank: int) -> nn.Sequential:
    """Two layers with `rank` columns between them that come closest to `layer` (Eckart, Young)."""
    weight = layer.weight.detach().double()
    P, singular, Qt = torch.linalg.svd(weight, full_matrices=False)
    root = singular[:rank].sqrt()
    inner = _linear((root[:, None] * Qt[:rank]), None, layer)
    outer = _linear(P[:, :rank] * root, _bias(layer), layer)
    return nn.Sequential(inner, outer)


def _chosen(model: nn.Module, recipe: Recipe) -> Iterator[tuple[str, LayerRecipe]]:
    """Layers, by the first name of each, whose shape the recipe changes."""
    for name, module in model.named_modules():
        if not isinstance(getattr(module, "weight", None), Tensor):
            continue
        key = matching_key(recipe, f"{name}.weight")
        entry = None if key is None else recipe.layers[key]
        if entry is None or not _changes_shape(entry):
            continue
        # a pattern means the layers that it can mean; a name is taken at its word
        fits = isinstance(module, nn.Embedding | nn.EmbeddingBag if entry.factor else nn.Linear)
        if fits or key in (name, f"{name}.weight"):
            yield name, entry


def _changes_shape(entry: LayerRecipe) -> bool:
    return any((entry.factor, entry.low_rank, entry.kept_units, entry.kept_inputs))


def _check(model: nn.Module, chosen: dict[str, LayerRecipe]) -> None:
    for name, entry in chosen.items():
        module = model.get_submodule(name)
        weight = module.weight
        assert isinstance(weight, Tensor)
        if entry.shape and entry.shape != list(weight.shape):
            raise RecipeError(
                f"layers.{name}.shape: expected {list(weight.shape)} as in this model, got "
                f"{entry.shape}: the recipe was made for another"
            )
        shared = [
            other
            for other, parameter in model.named_parameters(remove_duplicate=False)
            if parameter is weight and model.get_submodule(other.rpartition(".")[0]) is not module
        ]
        if shared:
            raise RecipeError(
                f"layers.{name}: expected a weight of its own to change its shape, got one that is "
                f"{shared[0]} too; leave it out, or make it null"
            )
        rank = entry.factor.rank if entry.factor else entry.low_rank
        if rank is not None and rank > min(weight.shape):
            raise RecipeError(
                f"layers.{name}: expected a rank of at most {min(weight.shape)}, got {rank}"
            )
        for partner in entry.factor.partners if entry.factor else ():
            other = chosen.get(partner)
            if other is None or other.factor is None or name not in other.factor.partners:
                raise RecipeError(
                    f"layers.{name}.factor.partners: expected each partner to name {name} in turn, "
                    f"got {partner!r} which does not"
                )
            if entry.factor and other.factor.rank != entry.factor.rank:
                raise RecipeError(
                    f"layers.{name}.factor.rank: expected {other.factor.rank} as for {partner}, "
                    f"got {entry.factor.rank}"
                )


def _narrow_together(model: nn.Module, group: dict[str, LayerRecipe]) -> None:
    names = list(group)
    tables = [_table(name, model.get_submodule(name), "factor") for name in names]
    widths = {table.weight.shape[1] for table in tables}
    if len(widths) > 1:
        raise RecipeError(f"layers.{names[0]}.factor: expected tables of one width, got {widths}")
    factors = [entry.factor for entry in group.values() if entry.factor is not None]
    grams = [
        gram(table.weight, _stays(name, table, group[name].dropped))
        for name, table in zip(names, tables, strict=True)
    ]
    meets = [[names.index(partner) for partner in factor.partners] for factor in factors]
    for name, table, A in zip(
        names, tables, joint_maps(grams, meets, factors[0].rank), strict=True
    ):
        weight = table.weight.detach()
        _replace(model, name, _with_weight(table, (weight.double() @ A).to(weight.dtype)))


def _factorised_table(name: str, module: nn.Module, entry: LayerRecipe) -> FactorisedTable:
    table = _table(name, module, "factor")
    if isinstance(table, nn.EmbeddingBag) and table.mode == "max":
        raise RecipeError(
            f"layers.{name}.factor: expected a bag that sums or averages, got mode 'max'"
        )
    assert entry.factor is not None
    weight = table.weight.detach()
    kept = gram(weight, _stays(name, table, entry.dropped))
    A = table_map(kept, entry.factor.rank).to(weight.dtype)
    projection = nn.Linear(entry.factor.rank, weight.shape[1], bias=False).to(weight)
    projection.weight = nn.Parameter(A.clone(), requires_grad=table.weight.requires_grad)
    return FactorisedTable(_with_weight(table, weight @ A), projection, weight.shape[1])


def _stays(name: str, table: Table, dropped: RowSet | None) -> Tensor | None:
    if dropped is None:
        return None
    mask = unpack_rows(dropped, table.weight.shape[0], f"layers.{name}.dropped")
    return torch.from_numpy(~mask).to(table.weight.device)


def _kept(name: str, layer: nn.Linear, entry: LayerRecipe) -> nn.Linear:
    weight, bias = layer.weight.detach(), _bias(layer)
    if entry.kept_units is not None:
        stays = unpack_rows(entry.kept_units, weight.shape[0], f"layers.{name}.kept_units")
        mask = torch.from_numpy(stays).to(weight.device)
        weight = weight[mask]
        bias = bias[mask] if bias is not None else None
    if entry.kept_inputs is not None:
        stays = unpack_rows(entry.kept_inputs, weight.shape[1], f"layers.{name}.kept_inputs")
        weight = weight[:, torch.from_numpy(stays).to(weight.device)]
    return _linear(weight, bias, layer)


def _linear(weight: Tensor, bias: Tensor | None, like: nn.Linear) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None).to(like.weight)
    trains = like.weight.requires_grad
    layer.weight = nn.Parameter(weight.to(like.weight.dtype).contiguous(), requires_grad=trains)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=trains)
    return layer.train(like.training)


def _bias(layer: nn.Linear) -> Tensor | None:
    bias = getattr(layer, "bias", None)  # nn.Linear declares it as always there
    return None if bias is None else bias.detach().clone()


def _with_weight(table: Table, weight: Tensor) -> Table:
    """The same table with other columns."""
    # without a copy of the old weight on the way
    other = copy.deepcopy(table, {id(table.weight): None})
    other.weight = nn.Parameter(weight.contiguous(), requires_grad=table.weight.requires_grad)
    other.embedding_dim = weight.shape[1]
    return other


def _table(name: str, module: nn.Module, field: str) -> Table:
    if not isinstance(module, nn.Embedding | nn.EmbeddingBag):
        raise _wrong_kind(name, field, "an nn.Embedding or nn.EmbeddingBag", module)
    if module.max_norm is not None:
        raise RecipeError(
            f"layers.{name}.{field}: expected a table without max_norm, which would "
            "then bound narrowed rows"
        )
    return module


def _wrong_kind(name: str, field: str, expected: str, got: nn.Module) -> RecipeError:
    return RecipeError(f"layers.{name}.{field}: expected {expected}, got {type(got).__name__}")


def _stored(entry: LayerRecipe) -> LayerRecipe:
    if not _changes_shape(entry):
        return entry
    gone = 0.0 if entry.kept_units is not None else entry.prune_ratio
    return msgspec.structs.replace(
        entry,
        factor=None,
        low_rank=None,
        kept_units=None,
        kept_inputs=None,
        prune_ratio=gone,
        shape=[],
    )


def projection_format(entry: LayerRecipe) -> Quantization:
    """How the matrix of a table factorised alone is stored: small, and every look-up's business."""
    return "INT8" if entry.quantization in ("INT2", "INT4") else entry.quantization


def _replace(model: nn.Module, name: str, new: nn.Module) -> None:
    """Put a module in place of one, wherever the model holds that."""
    old = model.get_submodule(name)
    if old is model:
        raise RecipeError(
            f"layers: expected a model that holds layers, got a bare {type(old).__name__}; wrap it "
            "in a module"
        )
    for path, module in list(model.named_modules(remove_duplicate=False)):
        if module is old:
            owner, _, attribute = path.rpartition(".")
            setattr(model.get_submodule(owner), attribute, new)
