"""What is decided about parameters while states are propagated, and what is found wrong on the way."""

from __future__ import annotations

from fnmatch import fnmatchcase

from torch import fx

from parc.capture.graph import Body, user_name, value
from parc.ir.states import FREE, I, R, S, State
from parc.shard.placed import Cut, Layout, Refused, States, Uncut
from parc.shard.routing import only_routes
from parc.shard.rules import Conflict
from parc.shard.rules.dims import Chunked

BLOCKS = 64  # more in one parameter are taken for a mistake


class Again(Exception):
    """A decision about a parameter came after it had been used: start over."""


class Decisions:
    """They outlive a propagation, and the next one starts with them. Each parameter has a key."""

    def __init__(self, layout: Layout, root: Body) -> None:
        self.layout, self.root = layout, root
        self.uncut: dict[str, Uncut] = {}
        self.faults: dict[tuple[object, ...], Refused] = {}
        self._cuts: dict[str, Cut] = {}
        self._decided: dict[tuple[str, str], State] = {}

    def stated(self, name: str) -> str | None:
        """What the plan states of a parameter, by its name in the model: `column`, `row` or `replicate`."""
        name = user_name(name)
        for word in ("replicate", "column", "row"):
            if any(fnmatchcase(name, glob) for glob in getattr(self.layout, word)):
                return word
        return None

    def first_states(self, key: str, node: fx.Node, path: str, is_expert: bool) -> States:
        """The states of a parameter or buffer before its first use."""
        stated = self.stated(path + node.meta["tensor"])
        return tuple(
            self._first(key, path + node.meta["tensor"], node, stated, axis, is_expert)
            for axis in self.layout.axes
        )

    def _first(
        self, key: str, name: str, node: fx.Node, stated: str | None, axis: str, is_expert: bool
    ) -> State:
        ndim = value(node).ndim
        if (key, axis) in self._decided:
            return self._decided[key, axis]
        if (
            axis in self.layout.data
            and not (is_expert and axis == self.layout.experts)
            and not node.meta["buffer"]
        ):
            return R  # every token's gradient is on one rank of it alone
        if axis != self.layout.tensor or node.meta["buffer"] or stated == "replicate":
            return I
        if is_expert and axis != self.layout.experts_tensor:
            return I
        if stated and ndim >= 2:
            state = S(ndim - 2 if stated == "column" else ndim - 1)
            self._cuts[key] = Cut(name, state, stated=True)
            return state
        return FREE

    def decide(self, key: str, name: str, axis: str, state: State) -> None:
        """From now on a parameter begins in this state."""
        self._decided[key, axis] = state
        if state.sharded:
            stated = key in self._cuts and self._cuts[key].stated
            self._cuts[key] = Cut(name, state, stated)

    def take_back(self, key: str, conflict: Conflict, axis: str, body: Body, node: fx.Node) -> None:
        """Undo a cut that an operator cannot bear, or make it of more blocks. Raises Refused if stated."""
        cut = self._cuts[key]
        blocks = cut.state.blocks * conflict.count if isinstance(conflict, Chunked) else 0
        if 0 < blocks <= BLOCKS:
            self.decide(key, cut.name, axis, S(cut.state.dim, blocks))
        elif cut.stated:
            raise Refused(f"the plan cuts `{user_name(cut.name)}`, but {conflict.reason}", axis, body, node)
        else:
            self.decide(key, cut.name, axis, I)
            routes = only_routes(self.root, body, node)
            self.uncut[key] = Uncut(cut.name, body, node, conflict.reason, routes)

    def fault(self, refused: Refused) -> None:
        """Keep what is wrong, and go on: there may be more."""
        self.faults.setdefault((id(refused.body), refused.node, refused.axis), refused)
