"""Normal forms that keep the rules few."""

from __future__ import annotations

import torch
from torch import fx

from parc.capture.graph import get_value

aten = torch.ops.aten


def split_biases(graph: fx.Graph) -> None:
    """`linear(x, w, b)` becomes `linear(x, w) + b`: where the product is a partial sum, the bias must wait.

    Emission joins the two again where nothing comes between.
    """
    for node in list(graph.nodes):
        if node.target is not aten.linear.default or len(node.args) < 3 or node.args[2] is None:
            continue
        x, weight, bias = node.args
        with graph.inserting_before(node):
            product = graph.call_function(aten.linear.default, (x, weight))
            total = graph.call_function(aten.add.Tensor, (product, bias))
        for new in (product, total):
            new.meta.update(node.meta)
        node.replace_all_uses_with(total)
        graph.erase_node(node)


def fill_by_masks(graph: fx.Graph) -> None:
    """`x[mask] = 0` becomes `x.masked_fill(mask, 0)`, which acts on each entry alone."""
    for node in list(graph.nodes):
        if node.target is not aten.index_put.default or len(node.args) > 3 or len(node.args[1]) != 1:
            continue
        x, (mask,), value = node.args
        missing = get_value(x).ndim - get_value(mask).ndim
        if get_value(mask).dtype != torch.bool or get_value(value).ndim > 0:
            continue
        with graph.inserting_before(node):
            for _ in range(missing):
                wider = graph.call_function(aten.unsqueeze.default, (mask, -1))
                wider.meta.update(node.meta, val=get_value(mask).unsqueeze(-1))
                mask = wider
            if value.target is aten.scalar_tensor.default:
                filled = graph.call_function(aten.masked_fill.Scalar, (x, mask, value.args[0]))
            else:
                filled = graph.call_function(aten.masked_fill.Tensor, (x, mask, value))
        filled.meta.update(node.meta)
        node.replace_all_uses_with(filled)
        graph.erase_node(node)
        if not value.users and value.op == "call_function":
            graph.erase_node(value)
