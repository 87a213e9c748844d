"""The layers of torch and of the runtime whose forward pass an expression is."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from parc.ir.expression import call, expr, get_attribute_path, group_attribute, literal
from parc.ir.parameters import join_cuts
from parc.ir.program import Parameter


@dataclass(frozen=True)
class LayerUse:
    """A call that reads the parameters of a layer."""

    path: str  # of the layer
    layer: ast.expr  # its constructor
    groups: tuple[str, ...] = ()  # that the constructor names
    places: tuple[int, ...] = (0,)  # of the arguments that the layer is applied to
    embeds: bool = False


def find_use(node: ast.Call, parameters: Mapping[str, Parameter]) -> LayerUse | None:
    """The layer that a call is the forward pass of."""
    find = _FINDERS.get(ast.unparse(node.func))
    return find(node, parameters) if find else None


def _find_linear(node: ast.Call, parameters: Mapping[str, Parameter]) -> LayerUse | None:
    _, weight, *rest = node.args
    path = _find_layer(weight, "weight", parameters)
    if path is None or node.keywords or len(parameters[f"{path}.weight"].shape) != 2:
        return None
    declared = parameters.get(f"{path}.bias")
    added = bool(rest) and _find_layer(rest[0], "bias", parameters) == path
    parameter = parameters[f"{path}.weight"]
    features = [literal(size) for size in reversed(parameter.shape)]
    options = {} if parameter.dtype == "torch.float32" else {"dtype": expr(parameter.dtype)}
    if not parameter.sharded:
        if bool(rest) != added or (declared is not None) != added:
            return None
        bias = {} if added else {"bias": literal(False)}
        return LayerUse(path, call("nn.Linear", *features, **bias, **options))
    cuts = join_cuts(parameter)
    if len(cuts) != 1:
        return None
    ((group, (dim, blocks)),) = cuts.items()
    bias = {"bias": literal(True)} if declared is not None else {}
    if dim == 0 and (bool(rest), added) == (declared is not None,) * 2:
        cut = {"blocks": literal(blocks)} if blocks > 1 else {}
        layer = call("ColumnLinear", *features, group_attribute(group), **bias, **cut, **options)
        return LayerUse(path, layer, (group,))
    if dim == 1 and blocks == 1 and not rest and (declared is None or not declared.sharded):
        layer = call("RowLinear", *features, group_attribute(group), **bias, **options)
        return LayerUse(path, layer, (group,))
    return None


def _find_grouped(node: ast.Call, parameters: Mapping[str, Parameter]) -> LayerUse | None:
    """`grouped_linear(rows, weight, counts, bias)`, with the parameters of a list of linear layers."""
    _, weight, _, *rest = node.args
    path = _find_layer(weight, "weight", parameters, stacked=True)
    if path is None:
        return None
    parameter, declared = parameters[f"{path}.weight"], parameters.get(f"{path}.bias")
    added = bool(rest) and _find_layer(rest[0], "bias", parameters, stacked=True) == path
    if bool(rest) != added or (declared is not None) != added:
        return None
    cuts, groups = join_cuts(parameter), dict[str, ast.expr]()
    for group, (dim, blocks) in cuts.items():
        role = ("experts", "columns", "rows")[dim]
        if blocks > 1 or role in groups:
            return None
        groups[role] = group_attribute(group)
    if declared is not None and ("rows" in groups or not _is_cut_alike(declared, parameter)):
        return None
    count, outer, inner = map(literal, parameter.shape)
    bias = {"bias": literal(True)} if added else {}
    options = {} if parameter.dtype == "torch.float32" else {"dtype": expr(parameter.dtype)}
    layer = call("GroupedLinear", count, inner, outer, **bias, **groups, **options)
    return LayerUse(path, layer, tuple(cuts), (0, 2))


def _is_cut_alike(bias: Parameter, weight: Parameter) -> bool:
    return bias.sharded == weight.sharded and bias.shape == weight.shape[:2] and bias.dtype == weight.dtype


def _find_embedding(node: ast.Call, parameters: Mapping[str, Parameter]) -> LayerUse | None:
    """`F.embedding(indices, table)`, or `sharded_embedding(indices, table, group)` where rows are sharded."""
    _, weight, *group = node.args
    path = _find_layer(weight, "weight", parameters)
    if path is None or any(keyword.arg != "padding_idx" for keyword in node.keywords):
        return None
    parameter = parameters[f"{path}.weight"]
    options = {str(keyword.arg): keyword.value for keyword in node.keywords}
    if parameter.dtype != "torch.float32":
        options["dtype"] = expr(parameter.dtype)
    sizes = map(literal, parameter.shape)
    if group:
        layer = call("VocabEmbedding", *sizes, *group, **options)
        return LayerUse(path, layer, tuple(join_cuts(parameter)), embeds=True)
    if parameter.sharded:
        return None
    return LayerUse(path, call("nn.Embedding", *sizes, **options), embeds=True)


def _find_norm(node: ast.Call, parameters: Mapping[str, Parameter]) -> LayerUse | None:
    """`F.layer_norm(x, shape, weight, bias, eps)` and `F.rms_norm(x, shape, weight, eps)`."""
    kind = {"F.layer_norm": "nn.LayerNorm", "F.rms_norm": "nn.RMSNorm"}[ast.unparse(node.func)]
    _, shape, *rest = node.args
    names = ("weight", "bias") if kind == "nn.LayerNorm" else ("weight",)
    given, eps = rest[: len(names)], rest[len(names) :]
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    if len(given) != len(names) or keywords.keys() - {"eps"} or len(eps) > 1:
        return None
    paths = {_find_layer(tree, name, parameters) for tree, name in zip(given, names, strict=True)}
    if len(paths) != 1 or None in paths:
        return None
    path = str(paths.pop())
    held = [parameters[f"{path}.{name}"] for name in names]
    if any(parameter.sharded or ast.unparse(shape) != str(parameter.shape) for parameter in held):
        return None
    sizes = literal(held[0].shape[0] if len(held[0].shape) == 1 else held[0].shape)
    options = dict(zip(["eps"], [*eps, *keywords.values()], strict=False))
    if held[0].dtype != "torch.float32":
        options["dtype"] = expr(held[0].dtype)
    return LayerUse(path, call(kind, sizes, **options))


_FINDERS: Mapping[str, Callable[[ast.Call, Mapping[str, Parameter]], LayerUse | None]] = {
    "F.linear": _find_linear,
    "grouped_linear": _find_grouped,
    "F.embedding": _find_embedding,
    "sharded_embedding": _find_embedding,
    "F.layer_norm": _find_norm,
    "F.rms_norm": _find_norm,
}


def _find_layer(
    tree: ast.expr, name: str, parameters: Mapping[str, Parameter], *, stacked: bool = False
) -> str | None:
    """The path of the layer whose parameter `name` an expression is; `stacked` for one layer an expert."""
    layer, _, last = get_attribute_path(tree).rpartition(".")
    parameter = parameters.get(f"{layer}.{name}")
    if last != name or parameter is None or parameter.experts or (parameter.stack is not None) != stacked:
        return None
    return layer
