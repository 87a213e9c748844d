"""Propagation: the state of every value of every module on every mesh axis.

The parameters of the tensor axis start undecided and are cut where they are first used: by column where their
result is free, by row where they continue a cut. A cut that meets an operator which has no rule for it is
retracted, and propagation starts again.
"""

from __future__ import annotations

from torch import fx

from parc.capture.capture import Captured
from parc.capture.graph import Body, get_tensor_name
from parc.diagnostic import CompileError
from parc.ir.states import I, P, S, V
from parc.plan.blocks import Plan
from parc.plan.placement import reduces_by_module
from parc.shard import rules
from parc.shard.balance import find_balance_values
from parc.shard.gradients import Flows, Reached
from parc.shard.layer_passes import report_open_layers
from parc.shard.layout import Layout, derive_layout
from parc.shard.parameter_placements import ParameterPlacements, Refused, Restart
from parc.shard.place_body import BodyPlacer
from parc.shard.placed import Fact, Placed, PlacedModel
from parc.shard.refusals import report_refusals, report_uneven_experts


def propagate(plan: Plan, captured: Captured) -> PlacedModel:
    """Lay a plan over a captured model. Raises CompileError."""
    propagation = _Propagation(derive_layout(plan), captured)
    try:
        root = propagation.run()
    except Refused as refused:
        raise CompileError(*report_refusals(plan, [refused], [])) from refused
    parameters = propagation.parameters
    faults = report_refusals(plan, parameters.refused.values(), parameters.uncut.values())
    faults += report_uneven_experts(plan, (bank.count for bank in captured.banks.values()))
    if reduces_by_module(plan) and captured.layers:
        faults += report_open_layers(plan, captured.layers, root)
    if faults:
        raise CompileError(*faults)
    return PlacedModel(propagation.layout, root, tuple(parameters.uncut.values()))


class _Propagation:
    """Places a model's bodies, each once for every way in which it is called."""

    def __init__(self, layout: Layout, captured: Captured) -> None:
        rules.load()
        self.layout, self._root, self._experts = layout, captured.root, captured.experts
        self.parameters = ParameterPlacements(layout, captured.root)
        self._flows = Flows()
        balance = layout.balance_of_ranks and captured.balanced
        self._of_ranks = find_balance_values(captured.root) if balance else frozenset[fx.Node]()
        self._numbers: dict[object, int] = {}  # of the ways of calling a body, the same after a restart
        self._placed: dict[int, Placed] = {}

    def run(self) -> Placed:
        """Raises Refused where nothing can be legal; `parameters` has what else is wrong."""
        states = tuple(S(0) if axis in self.layout.data else I for axis in self.layout.axes)
        batch = tuple(Fact(states, grad=False, varies=True) for _ in self._root.inputs())
        while True:
            self._placed.clear()
            self.parameters.refused.clear()
            try:
                root = self._place(self._root, batch, frozenset(range(len(self._root.results()))), "")
            except Restart:
                continue
            self._check_results(root)
            return root

    def _place(self, body: Body, inputs: tuple[Fact, ...], reached: Reached, path: str) -> Placed:
        """The body at `path`, which ends with a dot, called with these inputs."""
        key = (body, inputs, reached, self._find_statements(body, path))
        number = self._numbers.setdefault(key, len(self._numbers))
        if number not in self._placed:
            placer = BodyPlacer(
                self.parameters,
                self._place,
                self._experts,
                self._flows,
                self._of_ranks,
                body,
                reached,
                path,
                number,
            )
            self._placed[number] = placer.place(inputs)
        return self._placed[number]

    def _find_statements(self, body: Body, path: str) -> object:
        """What the plan states of each parameter below `path`: modules that differ in it are placed apart."""
        if not (self.layout.column or self.layout.row or self.layout.replicate):
            return None
        own = tuple(self.parameters.find_statement(path + get_tensor_name(node)) for node in body.tensors())
        below = (self._find_statements(child, f"{path}{name}.") for name, child in body.children.items())
        return own, tuple(below)

    def _check_results(self, root: Placed) -> None:
        """A loss that every rank holds with a partial gradient would be counted once a rank."""
        for place, fact in enumerate(root.results()):
            for axis, state in zip(self.layout.axes, fact.states, strict=True):
                if state not in ((I, P, V) if place else (I, P)):
                    reason = f"the loss ends {state.describe()} over it, where every rank must agree on it"
                    raise Refused(reason, axis, root.body, None)
