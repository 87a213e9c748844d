"""Which values of a model nothing but its balance loss is computed from."""

from __future__ import annotations

from torch import fx

from parc.capture.callers import iterate_bodies
from parc.capture.custom_ops import CALL
from parc.capture.graph import Body, get_item_source, is_item, list_operands


def find_balance_values(root: Body) -> frozenset[fx.Node]:
    """The values that only the second result of `root` depends on, in all bodies.

    A body that is called several times counts as one: its values are others if one of its calls needs them.
    """
    bodies = list(iterate_bodies(root))
    callers: dict[Body, list[fx.Node]] = {body: [] for body in bodies}
    homes: dict[fx.Node, Body] = {}
    for body in bodies:
        for node in body.graph.nodes:
            homes[node] = body
            if node.target is CALL:
                callers[body.children[str(node.args[1])]].append(node)
    others: set[fx.Node] = set()
    left = [root.results()[0]]
    while left:
        node = left.pop()
        if node in others:
            continue
        others.add(node)
        body = homes[node]
        source, place = get_item_source(node) if is_item(node) else (node, 0)
        others.add(source)
        if source.target is CALL:
            left.append(body.children[str(source.args[1])].results()[place])
        elif node in body.inputs():
            number = body.inputs().index(node)
            left += (list_operands(call)[number] for call in callers[body])
        else:
            left += list_operands(source)
    return frozenset(homes.keys() - others)
