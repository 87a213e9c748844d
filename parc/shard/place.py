"""Propagation: the state of every value of every module on every mesh axis.

The parameters of the tensor axis start undecided and are cut where they are first used: column where their
result is free, row where they continue a cut. A cut that meets an operator which has no rule for it is taken
back, and propagation starts over; whether that may stand, or is a fault, is for the caller to say
(`Placement.uncut`).
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from torch import fx

from parc.shard.body import Body, value
from parc.shard.moves import Again
from parc.shard.placed import Cut, Fact, Layout, Placed, Refused, States, Uncut
from parc.shard.states import FREE, I, P, R, S, State
from parc.shard.walk import Walk


class Placement:
    """Places a body and all that it calls."""

    def __init__(self, layout: Layout, experts: Mapping[str, Body]) -> None:
        self.layout = layout
        self.experts = experts  # the body of one expert, by the path of the experts module
        self.uncut: dict[str, Uncut] = {}
        self.faults: dict[tuple[object, ...], Refused] = {}
        self.cuts: dict[str, Cut] = {}
        self._decided: dict[tuple[str, str], State] = {}
        self._numbers: dict[object, int] = {}
        self._done: dict[object, Placed] = {}

    def run(self, body: Body) -> Placed:
        """Raises Refused where nothing can be legal; `faults` holds what else is wrong."""
        self.root = body
        while True:
            self._done.clear()
            self.faults.clear()
            try:
                placed = self.place(body, self._inputs(body), "")
            except Again:
                continue
            self._check_results(placed)
            return placed

    def _inputs(self, body: Body) -> tuple[Fact, ...]:
        states = tuple(S(0) if axis in self.layout.data else I for axis in self.layout.axes)
        return tuple(Fact(states, grad=False, varies=True) for _ in body.inputs())

    def place(self, body: Body, inputs: tuple[Fact, ...], path: str) -> Placed:
        """One result for each distinct way of calling. `path` prefixes names of parameters, dot included."""
        key = (id(body), inputs, self._stated_in(body, path))
        number = self._numbers.setdefault(key, len(self._numbers))
        if number not in self._done:
            self._done[number] = Walk(self, body, inputs, path, number).run()
        return self._done[number]

    def _stated_in(self, body: Body, path: str) -> object:
        """What the plan states of each parameter below `path`: modules that differ in it are placed apart."""
        if not (self.layout.column or self.layout.row or self.layout.replicate):
            return None
        own = tuple(self._stated(path + node.meta["tensor"]) for node in body.tensors())
        return own, tuple(self._stated_in(child, f"{path}{name}.") for name, child in body.children.items())

    def _stated(self, name: str) -> str | None:
        name = user_name(name)
        for word in ("replicate", "column", "row"):
            if any(fnmatchcase(name, glob) for glob in getattr(self.layout, word)):
                return word
        return None

    def first_states(self, key: str, node: fx.Node, path: str, is_expert: bool) -> States:
        """The states of a parameter or buffer before its first use."""
        stated = self._stated(path + node.meta["tensor"])
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
            self.cuts[key] = Cut(name, state, stated=True)
            return state
        return FREE

    def decide(self, key: str, axis: str, state: State) -> None:
        """From now on a parameter begins in this state."""
        self._decided[key, axis] = state

    def fault(self, refused: Refused) -> None:
        """Keep what is wrong, and go on: there may be more."""
        self.faults.setdefault((id(refused.body), refused.node, refused.axis), refused)

    def _check_results(self, placed: Placed) -> None:
        """A loss that every rank holds with a partial gradient would be counted once a rank."""
        for fact in placed.results():
            for axis, state in zip(self.layout.axes, fact.states, strict=True):
                if state not in (I, P):
                    raise Refused(
                        f"the loss ends {state} over it, where every rank must agree on it",
                        axis,
                        placed.body,
                        None,
                    )


def user_name(name: str) -> str:
    """The name in the user's model of what the objective calls `model.…`."""
    return name.removeprefix("model.")
