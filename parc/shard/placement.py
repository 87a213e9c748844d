"""Propagation: the state of every value of every module on every mesh axis.

The parameters of the tensor axis start undecided and are cut where they are first used: column where their
result is free, row where they continue a cut. A cut that meets an operator which has no rule for it is taken
back, and propagation starts over; whether that may stand, or is a fault, is for the caller to say
(`Decisions.uncut`).
"""

from __future__ import annotations

from collections.abc import Mapping

from parc.capture.capture import Captured
from parc.capture.graph import Body
from parc.diagnostic import CompileError
from parc.ir.states import I, P, S
from parc.plan.blocks import Plan
from parc.shard import rules
from parc.shard.parameter_placements import Again, Decisions
from parc.shard.placed import Fact, Layout, Placed, PlacedModel, Refused, layout_of
from parc.shard.propagate import Walk
from parc.shard.refusals import report_refusals, report_uneven_experts


def propagate(plan: Plan, captured: Captured) -> PlacedModel:
    """Lay a plan over a captured model. Raises CompileError."""
    layout = layout_of(plan)
    try:
        root, decisions = Placement(layout, captured.experts).run(captured.root)
    except Refused as refused:
        raise CompileError(*report_refusals(plan, [refused], [])) from refused
    uncut = tuple(decisions.uncut.values())
    faults = report_refusals(plan, decisions.faults.values(), uncut)
    faults += report_uneven_experts(plan, (bank.count for bank in captured.banks.values()))
    if faults:
        raise CompileError(*faults)
    return PlacedModel(layout, root, uncut)


class Placement:
    """Places a body and all that it calls."""

    def __init__(self, layout: Layout, experts: Mapping[str, Body]) -> None:
        rules.load()
        self.layout = layout
        self._experts = experts  # the body of one expert, by the path of the experts module
        self._numbers: dict[object, int] = {}
        self._done: dict[object, Placed] = {}

    def run(self, body: Body) -> tuple[Placed, Decisions]:
        """Raises Refused where nothing can be legal; `Decisions.faults` holds what else is wrong."""
        self._decisions = Decisions(self.layout, body)
        while True:
            self._done.clear()
            self._decisions.faults.clear()
            try:
                placed = self.place(body, self._inputs(body), "")
            except Again:
                continue
            self._check_results(placed)
            return placed, self._decisions

    def _inputs(self, body: Body) -> tuple[Fact, ...]:
        states = tuple(S(0) if axis in self.layout.data else I for axis in self.layout.axes)
        return tuple(Fact(states, grad=False, varies=True) for _ in body.inputs())

    def place(self, body: Body, inputs: tuple[Fact, ...], path: str) -> Placed:
        """One result for each distinct way of calling. `path` prefixes names of parameters, dot included."""
        key = (id(body), inputs, self._stated_in(body, path))
        number = self._numbers.setdefault(key, len(self._numbers))
        if number not in self._done:
            self._done[number] = Walk(
                self._decisions, self.place, self._experts, body, inputs, path, number
            ).run()
        return self._done[number]

    def _stated_in(self, body: Body, path: str) -> object:
        """What the plan states of each parameter below `path`: modules that differ in it are placed apart."""
        if not (self.layout.column or self.layout.row or self.layout.replicate):
            return None
        own = tuple(self._decisions.stated(path + node.meta["tensor"]) for node in body.tensors())
        return own, tuple(self._stated_in(child, f"{path}{name}.") for name, child in body.children.items())

    def _check_results(self, placed: Placed) -> None:
        """A loss that every rank holds with a partial gradient would be counted once a rank."""
        for fact in placed.results():
            for axis, state in zip(self.layout.axes, fact.states, strict=True):
                if state not in (I, P):
                    raise Refused(
                        f"the loss ends {state.describe()} over it, where every rank must agree on it",
                        axis,
                        placed.body,
                        None,
                    )
