"""Whether a value decides only where tokens go."""

from __future__ import annotations

from collections.abc import Iterator

from torch import fx

from parc.capture.custom_ops import CALL, EXPERTS
from parc.capture.graph import Body, get_name, get_shape, list_operands

_COMPUTES = (
    "aten::linear",
    "aten::matmul",
    "aten::embedding",
    "aten::scaled_dot_product_attention",
    "aten::cross_entropy_loss",
)


def is_only_routing(root: Body, body: Body, node: fx.Node) -> bool:
    """True where all that is computed from `node` ends in the indices and weights of experts, or in scalars.

    That is the router: its softmax reads the score of every expert, so a tensor axis leaves it whole.
    """
    seen: set[fx.Node] = set()
    left = [(body, node)]
    routed = False
    while left:
        where, current = left.pop()
        if current in seen:
            continue
        seen.add(current)
        for user in current.users:
            if user.target is EXPERTS:
                if list_operands(user)[0] is current:
                    return False
                routed = True
            elif user.op == "output":
                left += _find_callers(root, where, where.results().index(current))
            elif get_name(user) in _COMPUTES or user.target is CALL:
                return False
            elif isinstance(user.meta["val"], tuple | list) or get_shape(user):
                left.append((where, user))
    return routed


def _find_callers(root: Body, body: Body, result: int) -> Iterator[tuple[Body, fx.Node]]:
    """The values that a result of `body` becomes, wherever below `root` it is called."""
    for caller in iterate_bodies(root):
        for node in caller.operations():
            if node.target is CALL and caller.children[str(node.args[1])] is body:
                yield from ((caller, user) for user in node.users if user.args[1] == result)


def iterate_bodies(root: Body) -> Iterator[Body]:
    """All distinct bodies, callers first."""
    seen: set[int] = set()
    left = [root]
    while left:
        body = left.pop()
        if id(body) not in seen:
            seen.add(id(body))
            yield body
            left += body.children.values()
