"""Arithmetic of a captured model: products alone, as torch.utils.flop_counter counts them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import fx

from parc.capture.custom_ops import CALL, EXPERTS
from parc.capture.graph import Body, get_name, get_shape, list_operands


def count_flops(body: Body, experts: Mapping[str, Body]) -> int:
    """FLOPs of one forward pass over global shapes; attention is counted in full, causal or not."""
    return sum(_count_node(body, node, experts) for node in body.operations())


def _count_node(body: Body, node: fx.Node, experts: Mapping[str, Body]) -> int:
    if node.target is CALL:
        return count_flops(body.children[str(node.args[1])], experts)
    if node.target is EXPERTS:
        indices = list_operands(node)[1]
        inside = experts[str(node.args[3])]
        (rows,) = inside.inputs()
        return count_flops(inside, experts) * math.prod(get_shape(indices)) // get_shape(rows)[0]
    name = get_name(node).split("::")[-1]
    operands = list_operands(node)
    if name in ("linear", "matmul", "mm", "bmm", "grouped_linear", "grouped_matmul"):
        return 2 * math.prod(get_shape(node)) * get_shape(operands[0])[-1]
    if name == "einsum" and "." not in str(node.args[0]):
        letters = str(node.args[0]).replace(" ", "").split("->")[0].split(",")
        sizes = {
            k: n
            for term, operand in zip(letters, operands, strict=True)
            for k, n in zip(term, get_shape(operand), strict=True)
        }
        return 2 * math.prod(sizes.values())
    if name == "scaled_dot_product_attention":
        query, key, value = (get_shape(operand) for operand in operands[:3])
        return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])
    return 0
