"""The bodies of a captured model, and the places that call them."""

from __future__ import annotations

from collections.abc import Iterator

from torch import fx

from parc.capture.custom_ops import CALL
from parc.capture.graph import Body


def find_callers(root: Body, body: Body, result: int) -> Iterator[tuple[Body, fx.Node]]:
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
