"""Layers stay layers: `self.wq(x)`, where a product with a layer's own parameters was written out.

Capture sees through torch's own layers, down to the operators. A unit whose code reads the parameters of a
`nn.Linear`, `nn.Embedding`, `nn.LayerNorm` or `nn.RMSNorm` just as the layer itself does gets the layer back:
torch's own where the parameters are whole on every rank, else the one of the runtime for its shards.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace

from parc.ir.expression import Expression, attribute, call
from parc.ir.program import Parameter, Program, Stage, Unit
from parc.ir.walk import list_expressions, rewrite_event, rewrite_operand
from parc.lower.layer_reductions import adds_bias_to_term, reduce_in_layers
from parc.lower.layer_uses import LayerUse, find_use
from parc.shard.layout import Layout


def form_layers(program: Program, layout: Layout) -> Program:
    """The program, with layers in the place of operators on parameters."""

    def form_stage(stage: Stage) -> Stage:
        units = tuple(_form_unit(unit, layout) for unit in stage.units)
        return replace(stage, root=_form_unit(stage.root, layout), units=units)

    return replace(program, stages=tuple(map(form_stage, program.stages)))


def _form_unit(unit: Unit, layout: Layout) -> Unit:
    """A layer that would add its bias on every rank stays as it was written."""
    formed = reduce_in_layers(_form_all_layers(unit, layout))
    partial = {path for path, constructor in formed.layers.items() if adds_bias_to_term(constructor)}
    return reduce_in_layers(_form_all_layers(unit, layout, partial)) if partial else formed


def _form_all_layers(unit: Unit, layout: Layout, excluded: Collection[str] = ()) -> Unit:
    parameters = {parameter.path: parameter for parameter in unit.parameters}
    uses: dict[str, list[LayerUse]] = {}
    for expression in list_expressions(unit):
        for node in ast.walk(expression.tree):
            use = find_use(node, parameters) if isinstance(node, ast.Call) else None
            if use and use.path not in excluded:
                uses.setdefault(use.path, []).append(use)
    layers = {path: layer for path, found in uses.items() if (layer := _choose_layer(found))}
    if not layers:
        return unit
    rewrite = _Rewriter(parameters, layers).rewrite
    groups = {group for use in layers.values() for group in use.groups}.union(unit.groups)
    return replace(
        unit,
        groups=layout.order_groups(groups),
        events=tuple(rewrite_event(event, rewrite) for event in unit.events),
        results=tuple(rewrite_operand(result, rewrite) for result in unit.results),
        layers={path: Expression(use.layer) for path, use in layers.items()},
    )


def _choose_layer(uses: Sequence[LayerUse]) -> LayerUse | None:
    """The layer that uses of its parameters agree on, because its options are fixed when it is constructed.

    An embedding whose weight is that of the head as well is an embedding; the head reads its weight.
    """
    embeddings = [use for use in uses if use.embeds]
    layers = embeddings or uses
    return layers[0] if len({_get_source(use) for use in layers}) == 1 else None


def _get_source(use: LayerUse) -> str:
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
        if use is None or layer is None or _get_source(use) != _get_source(layer):
            return node
        return call(attribute(use.path), *(node.args[place] for place in use.places))
