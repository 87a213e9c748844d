"""Layers stay layers: `self.wq(x)`, where a product with a layer's own parameters was written out.

Capture sees through torch's own layers, down to the operators. A unit whose code reads the parameters of a
`nn.Linear`, `nn.Embedding`, `nn.LayerNorm` or `nn.RMSNorm` just as the layer itself does gets the layer back:
torch's own where the parameters are whole on every rank, else the one of the runtime for its shards.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

from parc.ir.expression import Expression, attribute, call, expr, literal
from parc.ir.program import Call, Collective, Compute, Event, Operand, Parameter, Program, Repeat, Stage, Unit
from parc.ir.walk import list_expressions


@dataclass(frozen=True)
class _Use:
    """A call that reads the parameters of a layer."""

    path: str  # of the layer
    operand: ast.expr  # what it is applied to
    layer: ast.expr  # its constructor
    axes: tuple[str, ...] = ()  # whose groups the constructor names


def form_layers(program: Program, axes: Sequence[str]) -> Program:
    """The program, with layers in the place of operators on parameters; `axes` are those of the mesh."""

    def form_stage(stage: Stage) -> Stage:
        units = tuple(_form_unit(unit, axes) for unit in stage.units)
        return replace(stage, root=_form_unit(stage.root, axes), units=units)

    return replace(program, stages=tuple(map(form_stage, program.stages)))


def _form_unit(unit: Unit, axes: Sequence[str]) -> Unit:
    parameters = {parameter.path: parameter for parameter in unit.parameters}
    uses: dict[str, list[_Use]] = {}
    for expression in list_expressions(unit):
        for node in ast.walk(expression.tree):
            if isinstance(node, ast.Call) and (use := _find_use(node, parameters)):
                uses.setdefault(use.path, []).append(use)
    # all uses must agree on the layer: its options are fixed when it is constructed
    layers = {path: found[0] for path, found in uses.items() if len({_source(use) for use in found}) == 1}
    if not layers:
        return unit
    rewrite = _Rewriter(parameters, layers).rewrite
    groups = {axis for use in layers.values() for axis in use.axes}.union(unit.groups)
    return replace(
        unit,
        groups=tuple(axis for axis in axes if axis in groups),
        events=tuple(_rewrite_event(event, rewrite) for event in unit.events),
        results=tuple(_rewrite_operand(result, rewrite) for result in unit.results),
        layers={path: Expression(use.layer) for path, use in layers.items()},
    )


def _source(use: _Use) -> str:
    return ast.unparse(use.layer)


def _find_use(node: ast.Call, parameters: Mapping[str, Parameter]) -> _Use | None:
    """The layer that a call is the forward pass of."""
    find = _FINDERS.get(ast.unparse(node.func))
    return find(node, parameters) if find else None


def _find_linear(node: ast.Call, parameters: Mapping[str, Parameter]) -> _Use | None:
    operand, weight, *rest = node.args
    path = _layer_of(weight, "weight", parameters)
    if path is None or node.keywords or len(parameters[f"{path}.weight"].shape) != 2:
        return None
    declared = parameters.get(f"{path}.bias")
    added = bool(rest) and _layer_of(rest[0], "bias", parameters) == path
    parameter = parameters[f"{path}.weight"]
    features = [literal(size) for size in reversed(parameter.shape)]
    options = {} if parameter.dtype == "torch.float32" else {"dtype": expr(parameter.dtype)}
    if not parameter.sharded:
        if bool(rest) != added or (declared is not None) != added:
            return None
        bias = {} if added else {"bias": literal(False)}
        return _Use(path, operand, call("nn.Linear", *features, **bias, **options))
    if len(parameter.sharded) != 1:
        return None
    ((axis, (dim, blocks)),) = parameter.sharded.items()
    bias = {"bias": literal(True)} if declared is not None else {}
    if dim == 0 and (bool(rest), added) == (declared is not None,) * 2:
        cut = {"blocks": literal(blocks)} if blocks > 1 else {}
        layer = call("ColumnLinear", *features, attribute(axis), **bias, **cut, **options)
        return _Use(path, operand, layer, (axis,))
    if dim == 1 and blocks == 1 and not rest and (declared is None or not declared.sharded):
        return _Use(path, operand, call("RowLinear", *features, attribute(axis), **bias, **options), (axis,))
    return None


def _find_embedding(node: ast.Call, parameters: Mapping[str, Parameter]) -> _Use | None:
    """`F.embedding(indices, table)`, or `sharded_embedding(indices, table, group)` where rows are sharded."""
    operand, weight, *group = node.args
    path = _layer_of(weight, "weight", parameters)
    if path is None or any(keyword.arg != "padding_idx" for keyword in node.keywords):
        return None
    parameter = parameters[f"{path}.weight"]
    options = {str(keyword.arg): keyword.value for keyword in node.keywords}
    if parameter.dtype != "torch.float32":
        options["dtype"] = expr(parameter.dtype)
    sizes = map(literal, parameter.shape)
    if group:
        return _Use(
            path, operand, call("VocabEmbedding", *sizes, *group, **options), tuple(parameter.sharded)
        )
    return None if parameter.sharded else _Use(path, operand, call("nn.Embedding", *sizes, **options))


def _find_norm(node: ast.Call, parameters: Mapping[str, Parameter]) -> _Use | None:
    """`F.layer_norm(x, shape, weight, bias, eps)` and `F.rms_norm(x, shape, weight, eps)`."""
    kind = {"F.layer_norm": "nn.LayerNorm", "F.rms_norm": "nn.RMSNorm"}[ast.unparse(node.func)]
    operand, shape, *rest = node.args
    names = ("weight", "bias") if kind == "nn.LayerNorm" else ("weight",)
    given, eps = rest[: len(names)], rest[len(names) :]
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    if len(given) != len(names) or keywords.keys() - {"eps"} or len(eps) > 1:
        return None
    paths = {_layer_of(tree, name, parameters) for tree, name in zip(given, names, strict=True)}
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
    return _Use(path, operand, call(kind, sizes, **options))


_FINDERS: Mapping[str, Callable[[ast.Call, Mapping[str, Parameter]], _Use | None]] = {
    "F.linear": _find_linear,
    "F.embedding": _find_embedding,
    "sharded_embedding": _find_embedding,
    "F.layer_norm": _find_norm,
    "F.rms_norm": _find_norm,
}


def _layer_of(tree: ast.expr, name: str, parameters: Mapping[str, Parameter]) -> str | None:
    """The path of the layer whose parameter `name` an expression is; experts are no layers."""
    layer, _, last = _path_of(tree).rpartition(".")
    parameter = parameters.get(f"{layer}.{name}")
    if last != name or parameter is None or parameter.experts or parameter.stack:
        return None
    return layer


def _path_of(tree: ast.expr) -> str:
    """The attribute path below `self` that an expression is, see `attribute`; empty for any other."""
    match tree:
        case ast.Attribute(value=ast.Name(id="self"), attr=last):
            return last
        case (
            ast.Attribute(value=owner, attr=last)
            | ast.Subscript(value=owner, slice=ast.Constant(value=str(last)))
        ):
            above = _path_of(owner)
            return f"{above}.{last}" if above else ""
    return ""


class _Rewriter(ast.NodeTransformer):
    """Writes calls of layers, in a copy: trees are shared."""

    def __init__(self, parameters: Mapping[str, Parameter], layers: Mapping[str, _Use]) -> None:
        self.parameters, self.layers = parameters, layers

    def rewrite(self, expression: Expression) -> Expression:
        tree = self.visit(deepcopy(expression.tree))
        assert isinstance(tree, ast.expr)
        return Expression(tree)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        use = _find_use(node, self.parameters)
        self.generic_visit(node)
        if use is None or use.path not in self.layers:
            return node
        return call(attribute(use.path), node.args[0])


def _rewrite_event(event: Event, rewrite: Callable[[Expression], Expression]) -> Event:
    if isinstance(event, Compute):
        return replace(event, value=rewrite(event.value))
    if isinstance(event, Collective):
        return replace(event, operand=_rewrite_operand(event.operand, rewrite))
    if isinstance(event, Call):
        return replace(event, operands=tuple(_rewrite_operand(each, rewrite) for each in event.operands))
    if isinstance(event, Repeat):
        return replace(event, body=tuple(_rewrite_event(each, rewrite) for each in event.body))
    return event


def _rewrite_operand(operand: Operand, rewrite: Callable[[Expression], Expression]) -> Operand:
    return replace(operand, expression=rewrite(operand.expression))
