"""Arithmetic of a captured model: products alone, as torch.utils.flop_counter counts them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import fx

from parc.capture.custom_ops import CALL, EXPERTS
from parc.capture.graph import Body, name_of, operands_of, shape


def flops(body: Body, experts: Mapping[str, Body]) -> int:
    """FLOPs of one forward pass over global shapes; attention is counted in full, causal or not."""
    return sum(_count_node(body, node, experts) for node in body.operations())


def _count_node(body: Body, node: fx.Node, experts: Mapping[str, Body]) -> int:
    if node.target is CALL:
        return flops(body.children[str(node.args[1])], experts)
    if node.target is EXPERTS:
        indices = operands_of(node)[1]
        inside = experts[str(node.args[3])]
        (rows,) = inside.inputs()
        return flops(inside, experts) * math.prod(shape(indices)) // shape(rows)[0]
    name = name_of(node).split("::")[-1]
    operands = operands_of(node)
    if name in ("linear", "matmul", "mm", "bmm", "grouped_linear", "grouped_matmul"):
        return 2 * math.prod(shape(node)) * shape(operands[0])[-1]
    if name == "einsum" and "." not in str(node.args[0]):
        letters = str(node.args[0]).replace(" ", "").split("->")[0].split(",")
        sizes = {
            k: n
            for term, operand in zip(letters, operands, strict=True)
            for k, n in zip(term, shape(operand), strict=True)
        }
        return 2 * math.prod(sizes.values())
    if name == "scaled_dot_product_attention":
        query, key, value = (shape(operand) for operand in operands[:3])
        return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])
    return 0
