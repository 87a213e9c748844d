"""Normal forms that keep the rules few."""

from __future__ import annotations

import torch
from torch import fx

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
