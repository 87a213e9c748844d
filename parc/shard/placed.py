"""What propagation yields: bodies with every value placed on every axis, and the moves that this needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import fx

from parc.capture.graph import Body
from parc.ir.states import I, Kind, S, State
from parc.plan.blocks import Plan

States = tuple[State, ...]  # one an axis, in the order of `Layout.axes`


@dataclass(frozen=True)
class Layout:
    """What a plan says, as far as propagation reads it."""

    axes: tuple[str, ...]  # all but the pipeline's, outermost first
    sizes: Mapping[str, int]
    data: tuple[str, ...] = ()
    tensor: str | None = None
    sequence: bool = False
    experts: str | None = None
    experts_tensor: str | None = None
    column: tuple[str, ...] = ()
    row: tuple[str, ...] = ()
    replicate: tuple[str, ...] = ()
    batch: int = 1  # sequences of a microbatch
    length: int = 1

    def settled(self, shape: tuple[int, ...], axis: str) -> State:
        """Where a partial sum goes: to shares of the sequence where the plan shards it, else everywhere."""
        if self.sequence and axis == self.tensor:
            if len(shape) > 2 and shape[:2] == (self.batch, self.length):
                return S(1)
            if len(shape) > 1 and shape[0] == self.batch * self.length:
                return S(0, self.batch)
        return I


def layout_of(plan: Plan) -> Layout:
    """Axes of one rank carry nothing: they are left out."""
    pipeline = plan.pipeline.axes if plan.pipeline else ()
    sizes = {axis.name: axis.size for axis in plan.mesh.axes}
    axes = tuple(name for name, size in sizes.items() if name not in pipeline and size > 1)
    tensor = next((axis for axis in plan.tensor.axes if axis in axes), None) if plan.tensor else None
    experts = next((axis for axis in plan.experts.axes if axis in axes), None) if plan.experts else None
    split = next((axis for axis in plan.experts.tensor if axis in axes), None) if plan.experts else None
    return Layout(
        axes,
        sizes,
        tuple(axis for axis in axes if plan.data and axis in plan.data.axes),
        tensor,
        bool(plan.tensor and plan.tensor.sequence and tensor),
        experts,
        split,
        plan.tensor.column if plan.tensor else (),
        plan.tensor.row if plan.tensor else (),
        plan.tensor.replicate if plan.tensor else (),
        plan.train.batch.sequences // plan.train.batch.microbatches,
        plan.train.batch.length,
    )


@dataclass(frozen=True)
class Fact:
    """What is known of one value."""

    states: States
    grad: bool
    varies: bool  # depends on the data
    origins: frozenset[str] = frozenset()  # keys of the parameters whose cut over the tensor axis it carries


@dataclass(frozen=True)
class Move:
    """A change of state of one operand on one axis, made before the node that needs it."""

    axis: str
    before: State
    after: State
    grad: bool  # whether a gradient flows back through it


@dataclass(eq=False)
class Placed:
    """A body with every value placed. The same body is placed once for every way in which it is called."""

    body: Body
    facts: dict[fx.Node, tuple[Fact, ...]] = field(default_factory=dict)
    settled: dict[fx.Node, States] = field(default_factory=dict)  # where a move has changed them since
    moves: dict[fx.Node, tuple[tuple[Move, ...], ...]] = field(default_factory=dict)  # of each operand
    wanted: dict[fx.Node, tuple[States, ...]] = field(default_factory=dict)  # of each operand, once moved
    children: dict[str, Placed] = field(default_factory=dict)
    experts: dict[fx.Node, PlacedExperts] = field(default_factory=dict)

    def fact(self, node: fx.Node) -> Fact:
        """What is known of a value as it is made; of a tuple, of its first item."""
        return self.facts[node][0]

    def now(self, node: fx.Node) -> Fact:
        """The fact with the states that the value has had since it was last settled."""
        fact = self.fact(node)
        return replace(fact, states=self.settled.get(node, fact.states))

    def results(self) -> list[Fact]:
        """What is known of the body's results as its caller gets them."""
        return [self.now(node) for node in self.body.results()]


def issues(move: Move) -> bool:
    """Whether a move does anything: telling gradients apart matters only where there are any."""
    return move.grad or move.before.kind is not Kind.INVARIANT or move.after.kind is not Kind.REPLICATE


@dataclass(eq=False)
class PlacedExperts:
    """The experts of one layer: how tokens reach them, and what one rank does with its own."""

    path: str  # relative to the module that calls them
    inside: Placed
    axis: str | None  # that the experts are spread over
    travel: bool  # whether tokens travel over it; else every rank of it holds them all


@dataclass(frozen=True)
class Cut:
    """How the tensor axis cuts a parameter."""

    name: str
    state: State
    stated: bool  # by the plan; else inferred


@dataclass(frozen=True)
class Uncut:
    """A parameter that the tensor axis was to cut, and could not."""

    parameter: str  # its name in the user's model
    body: Body
    node: fx.Node  # that has no rule for the cut
    reason: str
    routes: bool  # all that it decides is where tokens go


@dataclass(frozen=True)
class PlacedModel:
    """A model laid over a plan's mesh."""

    layout: Layout
    root: Placed
    uncut: tuple[Uncut, ...]  # parameters that are whole on every rank of the tensor axis, by no statement


class Refused(Exception):
    """There is no legal placement."""

    def __init__(self, reason: str, axis: str, body: Body, node: fx.Node | None) -> None:
        super().__init__(reason)
        self.reason, self.axis, self.body, self.node = reason, axis, body, node
