"""Which stage of the pipeline computes what, and what crosses between two."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from torch import fx

from parc.capture.custom_ops import CALL, EXPERTS
from parc.capture.graph import get_item_source, get_tensor_name, is_item, is_parameter
from parc.shard.placed import Placed


class Cutter:
    """Assigns every value of the root to a stage, and finds what crosses from each to the next."""

    def __init__(self, placed: Placed, layers: str, counts: Sequence[int]) -> None:
        self.placed, self.layers = placed, layers
        self.ends = list(accumulate(counts))
        self.nodes = [node for node in placed.body.operations() if not is_item(node)]
        self._constants = self._find_constants()
        self._assigned = self._assign()

    def _find_constants(self) -> set[fx.Node]:
        found: set[fx.Node] = set()
        for node in self.nodes:
            plain = node.target not in (CALL, EXPERTS)
            if plain and all(
                _is_buffer_or_input(made) or _find_maker(made) in found for made in node.all_input_nodes
            ):
                found.add(node)
        return found

    def find_stage(self, node: fx.Node) -> int:
        """The stage that makes a value."""
        return self._assigned[_find_maker(node)]

    def find_layer(self, node: fx.Node) -> int | None:
        """The number of the layer that a node calls."""
        return self._find_number(str(node.args[1])) if node.target is CALL else None

    def _find_number(self, path: str, below: bool = False) -> int | None:
        """The number of the layer at a path, or `below` it."""
        prefix = self.layers + "."
        rest = path.removeprefix(prefix)
        number = rest.partition(".")[0] if below else rest
        return int(number) if path.startswith(prefix) and number.isdigit() else None

    def _find_layer_read(self, node: fx.Node) -> int | None:
        """The last layer whose parameters a node reads: layers of torch's own are not called as units."""
        parameters = [get_tensor_name(made) for made in node.all_input_nodes if is_parameter(made)]
        numbers = [self._find_number(path, below=True) for path in parameters]
        return max((number for number in numbers if number is not None), default=None)

    def is_constant(self, node: fx.Node) -> bool:
        """Whether every stage can compute a value for itself: from buffers and the batch, which all have."""
        return _find_maker(node) in self._constants

    def list_nodes(self, stage: int) -> list[fx.Node]:
        """The nodes that a stage computes, in order."""
        mine = [node for node in self.nodes if not self.is_constant(node) and self.find_stage(node) == stage]
        needed = set(mine)
        for node in reversed(self.nodes):
            if self.is_constant(node) and any(user in needed for user in _list_uses(node)):
                needed.add(node)
        return [node for node in self.nodes if node in needed]

    def list_crossing(self, stage: int) -> list[fx.Node]:
        """The values that `stage` hands to the next one, its own and those that only pass through."""
        found = []
        for node in self.placed.body.operations():
            if isinstance(node.meta["val"], (list, tuple)) or self.is_constant(node):
                continue
            later = any(user.op != "output" and self.find_stage(user) > stage for user in _list_uses(node))
            if self.find_stage(node) <= stage and (
                later or (self._is_result(node) and stage < len(self.ends) - 1)
            ):
                found.append(node)
        return found

    def _is_result(self, node: fx.Node) -> bool:
        return any(user.op == "output" for user in node.users)

    def _find_stage(self, layer: int) -> int:
        return next(stage for stage, end in enumerate(self.ends) if layer < end)

    def _assign(self) -> dict[fx.Node, int]:
        """Layers as the plan says; what follows one stays with it; a value that no layer precedes is computed
        in the first stage that uses it.
        """
        early: dict[fx.Node, int] = {}
        follows: set[fx.Node] = set()
        for node in self.nodes:
            made = [_find_maker(n) for n in node.all_input_nodes if n.op != "placeholder"]
            number = self.find_layer(node)
            if number is not None:
                early[node] = self._find_stage(number)
                follows.add(node)
                continue
            early[node] = max((early[n] for n in made), default=0)
            number = self._find_layer_read(node)
            if number is not None:
                early[node] = max(early[node], self._find_stage(number))
                follows.add(node)
            if any(n in follows for n in made):
                follows.add(node)
        for node in reversed(self.nodes):
            if node not in follows:
                uses = [early[_find_maker(u)] for u in _list_uses(node) if u.op != "output"]
                early[node] = min(uses, default=len(self.ends) - 1)
        return early


def _is_buffer_or_input(node: fx.Node) -> bool:
    """A buffer, or an input of the batch: no parameter."""
    return node.op == "placeholder" and not is_parameter(node)


def _find_maker(node: fx.Node) -> fx.Node:
    return get_item_source(node)[0] if is_item(node) else node


def _list_uses(node: fx.Node) -> list[fx.Node]:
    """The users of a value, seen through the items of tuples."""
    found: list[fx.Node] = []
    for user in node.users:
        found += user.users if is_item(user) else [user]
    return found
