"""Values that are zero for every input: a zero is a term of a sum as it is, on every rank."""

from __future__ import annotations

from torch import fx

from parc.capture.custom_ops import CALL
from parc.capture.graph import get_argument, get_item_source, get_name, is_item, list_operands
from parc.shard.gradients import CASTS, ZEROS
from parc.shard.placed import Placed

_FILLED = ("aten::full", "aten::new_full", "aten::full_like")


def is_zero(placed: Placed, node: fx.Node) -> bool:
    """Whether a value of a body is made of zeros alone: a sum that no layer has added to yet."""
    place = 0
    if is_item(node):
        node, place = get_item_source(node)
    if node.op != "call_function":
        return False
    if node.target is CALL:
        callee = placed.children[str(node.args[1])]
        return is_zero(callee, callee.body.results()[place])
    kind = get_name(node)
    if kind in _FILLED:
        return bool(get_argument(node, "fill_value") == 0)
    operands = list_operands(node)
    if kind in CASTS:
        return is_zero(placed, operands[0])
    adds = kind == "aten::add" and len(operands) == 2
    return kind in ZEROS or (adds and all(is_zero(placed, operand) for operand in operands))
