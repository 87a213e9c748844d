"""Names for values that the user gave none: they stand in the middle of an expression."""

from __future__ import annotations

from torch import fx

from parc.capture.custom_ops import CALL, EXPERTS
from parc.capture.graph import (
    Body,
    get_input_name,
    get_name,
    get_tensor_name,
    get_user_name,
    get_value,
    is_parameter,
    list_operands,
)
from parc.capture.source_lines import find_lines
from parc.shard.placed import Placed

_ROLES = ("tokens", "indices", "weights")  # of what a module of experts takes


def name_unnamed(placed: Placed, node: fx.Node, result: fx.Node) -> str:
    """A name for a value that a node makes.

    That of the submodule or parameter that makes it, else of the argument that it becomes, else `out` for
    what is returned, `term` for scalars and `hidden` for all else.
    """
    if node.target is CALL:
        return _last_word(str(node.args[1]))
    if node.target is EXPERTS:
        return _last_word(placed.experts[node].path)
    for operand in list_operands(node):
        if is_parameter(operand) and (layer := get_user_name(get_tensor_name(operand)).rpartition(".")[0]):
            return _last_word(layer)
    return _find_argument(placed, result) or ("hidden" if get_value(result).ndim else "term")


def name_objective(body: Body) -> dict[fx.Node, str]:
    """The logits, and the loss that parc takes of them, which no statement of the user's model binds."""
    loss, *_ = body.results()
    if get_name(loss) != "aten::cross_entropy_loss" or find_lines(loss):
        return {}
    logits = loss
    while logits.op == "call_function" and not find_lines(logits):
        logits = list_operands(logits)[0]
    return {loss: "loss", logits: "logits"}


def _find_argument(placed: Placed, result: fx.Node) -> str | None:
    """What the only reader of a value calls it."""
    if len(result.users) != 1:
        return None
    (user,) = result.users
    if user.op == "output":
        return "out"
    place = next(place for place, operand in enumerate(list_operands(user)) if operand is result)
    if user.target is EXPERTS:
        return _ROLES[place]
    if user.target is CALL:
        return get_input_name(placed.children[str(user.args[1])].body.inputs()[place])
    return None


def _last_word(path: str) -> str:
    """The last part of an attribute path that is no number: `layers.3.norm` -> `norm`."""
    words = [part for part in path.split(".") if not part.isdigit()]
    return words[-1] if words else "value"
