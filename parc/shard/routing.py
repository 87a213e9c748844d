"""Whether a value decides only where tokens go."""

from __future__ import annotations

from torch import fx

from parc.capture.callers import find_callers
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
                left += find_callers(root, where, where.results().index(current))
            elif get_name(user) in _COMPUTES or user.target is CALL:
                return False
            elif isinstance(user.meta["val"], tuple | list) or get_shape(user):
                left.append((where, user))
    return routed
