"""Where parameters lie, as it is decided while states are propagated, and what is refused on the way."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import fx

from parc.capture.graph import Body, get_tensor_name, get_user_name, get_value, is_buffer
from parc.ir.states import FREE, I, R, S, State
from parc.shard.layout import Layout
from parc.shard.placed import States, Uncut
from parc.shard.routing import is_only_routing
from parc.shard.rules import Conflict
from parc.shard.rules.dims import Chunked

BLOCKS = 64  # of one parameter: more are a mistake


class Restart(Exception):
    """A decision about a parameter came after it had been used: propagation starts again."""


class Refused(Exception):
    """There is no legal placement."""

    def __init__(
        self, reason: str, axis: str, body: Body, node: fx.Node | None, cure: str | None = None
    ) -> None:
        super().__init__(reason)
        self.reason, self.axis, self.body, self.node, self.cure = reason, axis, body, node, cure


@dataclass(frozen=True)
class _Cut:
    """How the tensor axis cuts a parameter."""

    name: str
    state: State
    stated: bool  # by the plan; else inferred


class ParameterPlacements:
    """Decisions about parameters, each by a key. A propagation that starts again starts with them."""

    def __init__(self, layout: Layout, root: Body) -> None:
        self.layout, self.root = layout, root
        self.uncut: dict[str, Uncut] = {}
        self.refused: dict[tuple[object, ...], Refused] = {}
        self._cuts: dict[str, _Cut] = {}
        self._decided: dict[tuple[str, str], State] = {}

    def find_statement(self, name: str) -> str | None:
        """What the plan states of a parameter, by its name in the model: `column`, `row` or `replicate`."""
        name = get_user_name(name)
        for word in ("replicate", "column", "row"):
            if any(fnmatchcase(name, glob) for glob in getattr(self.layout, word)):
                return word
        return None

    def find_states(self, key: str, node: fx.Node, path: str, layout: Layout, is_expert: bool) -> States:
        """The states of a parameter or buffer before its first use, in a body of this layout."""
        name, axes = path + get_tensor_name(node), layout.axes
        if is_buffer(node):
            return tuple(self._decided.get((key, axis), I) for axis in axes)
        return tuple(
            self._decided.get((key, axis))
            or self._find_state(key, name, get_value(node).ndim, axis, layout, is_expert)
            for axis in axes
        )

    def _find_state(
        self, key: str, name: str, ndim: int, axis: str, layout: Layout, is_expert: bool
    ) -> State:
        stated = self.find_statement(name)
        if axis in layout.data and not (is_expert and axis in layout.experts):
            return R  # every token's gradient is on one rank of it alone
        if axis != layout.tensor or stated == "replicate":
            return I
        if stated and ndim >= 2:
            state = S(ndim - 2 if stated == "column" else ndim - 1)
            self._cuts[key] = _Cut(name, state, stated=True)
            return state
        return FREE

    def decide(self, key: str, name: str, axis: str, state: State) -> None:
        """From now on a parameter begins in this state."""
        self._decided[key, axis] = state
        if state.sharded:
            stated = key in self._cuts and self._cuts[key].stated
            self._cuts[key] = _Cut(name, state, stated)

    def retract(self, key: str, conflict: Conflict, axis: str, body: Body, node: fx.Node) -> None:
        """Undo a cut that has no rule, or make it of more blocks. Raises Refused where the plan states it."""
        cut = self._cuts[key]
        blocks = cut.state.blocks * conflict.count if isinstance(conflict, Chunked) else 0
        if 0 < blocks <= BLOCKS:
            self.decide(key, cut.name, axis, S(cut.state.dim, blocks))
        elif cut.stated:
            raise Refused(
                f"the plan cuts `{get_user_name(cut.name)}`, but {conflict.reason}", axis, body, node
            )
        else:
            self.decide(key, cut.name, axis, I)
            routes = is_only_routing(self.root, body, node)
            self.uncut[key] = Uncut(cut.name, axis, body, node, conflict.reason, routes)

    def refuse(self, reason: str, axis: str, body: Body, node: fx.Node) -> None:
        """Note what is wrong, and go on: there may be more."""
        self.refused.setdefault((body, node, axis), Refused(reason, axis, body, node))
