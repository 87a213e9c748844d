"""Layers stay layers: `self.wq(x)`, where a product with a layer's own parameters was written out.

Capture sees through torch's own layers, down to the operators. A unit whose code reads the parameters of a
`nn.Linear`, `nn.Embedding`, `nn.LayerNorm` or `nn.RMSNorm` just as the layer itself does gets the layer back:
torch's own where the parameters are whole on every rank, else the one of the runtime for its shards.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace

from parc.ir.expression import Expression, attribute, call
from parc.ir.program import Call, Collective, Compute, Event, Operand, Parameter, Program, Repeat, Stage, Unit
from parc.ir.walk import list_expressions
from parc.lower.layer_uses import LayerUse, find_use


def form_layers(program: Program, axes: Sequence[str]) -> Program:
    """The program, with layers in the place of operators on parameters; `axes` are those of the mesh."""

    def form_stage(stage: Stage) -> Stage:
        units = tuple(_form_unit(unit, axes) for unit in stage.units)
        return replace(stage, root=_form_unit(stage.root, axes), units=units)

    return replace(program, stages=tuple(map(form_stage, program.stages)))


def _form_unit(unit: Unit, axes: Sequence[str]) -> Unit:
    parameters = {parameter.path: parameter for parameter in unit.parameters}
    uses: dict[str, list[LayerUse]] = {}
    for expression in list_expressions(unit):
        for node in ast.walk(expression.tree):
            if isinstance(node, ast.Call) and (use := find_use(node, parameters)):
                uses.setdefault(use.path, []).append(use)
    layers = {path: layer for path, found in uses.items() if (layer := _choose_layer(found))}
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


def _choose_layer(uses: Sequence[LayerUse]) -> LayerUse | None:
    """The layer that uses of its parameters agree on, because its options are fixed when it is constructed.

    An embedding whose weight is that of the head as well is an embedding; the head reads its weight.
    """
    embeddings = [use for use in uses if use.embeds]
    layers = embeddings or uses
    return layers[0] if len({_source(use) for use in layers}) == 1 else None


def _source(use: LayerUse) -> str:
    return ast.unparse(use.layer)


class _Rewriter(ast.NodeTransformer):
    """Writes calls of layers, in a copy: trees are shared."""

    def __init__(self, parameters: Mapping[str, Parameter], layers: Mapping[str, LayerUse]) -> None:
        self.parameters, self.layers = parameters, layers

    def rewrite(self, expression: Expression) -> Expression:
        tree = self.visit(deepcopy(expression.tree))
        assert isinstance(tree, ast.expr)
        return Expression(tree)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        use = find_use(node, self.parameters)
        self.generic_visit(node)
        layer = self.layers.get(use.path) if use else None
        if use is None or layer is None or _source(use) != _source(layer):
            return node
        return call(attribute(use.path), *(node.args[place] for place in use.places))


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
