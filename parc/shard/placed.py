"""What propagation yields: bodies with every value placed on every axis, and the moves that this needs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from torch import fx

from parc.capture.graph import Body
from parc.ir.states import Kind, State
from parc.shard.layout import Layout

States = tuple[State, ...]  # one an axis, in the order of the `Layout.axes` of the body


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

    @property
    def settles(self) -> bool:
        """Whether it reduces a partial sum: the result stands for the value from then on."""
        return self.before.partial and not self.after.partial

    @property
    def has_effect(self) -> bool:
        """Whether it does anything: telling gradients apart matters only where there are any."""
        return self.grad or (self.before.kind, self.after.kind) != (Kind.INVARIANT, Kind.REPLICATE)


@dataclass(eq=False)
class Placed:
    """A body with every value placed. The same body is placed once for every way in which it is called."""

    body: Body
    layout: Layout
    facts: dict[fx.Node, tuple[Fact, ...]] = field(default_factory=dict)
    settled: dict[fx.Node, States] = field(default_factory=dict)  # where a move has changed them since
    moves: dict[fx.Node, tuple[tuple[Move, ...], ...]] = field(default_factory=dict)  # of each operand
    wanted: dict[fx.Node, tuple[States, ...]] = field(default_factory=dict)  # of each operand, once moved
    children: dict[str, Placed] = field(default_factory=dict)
    experts: dict[fx.Node, PlacedExperts] = field(default_factory=dict)
    of_ranks: Collection[fx.Node] = ()  # values that each rank of data has of its own tokens

    def get_fact(self, node: fx.Node) -> Fact:
        """What is known of a value as it is made; of a tuple, of its first item."""
        return self.facts[node][0]

    def get_settled(self, node: fx.Node) -> Fact:
        """The fact with the states that the value has had since it was last settled."""
        fact = self.get_fact(node)
        return replace(fact, states=self.settled.get(node, fact.states))

    def results(self) -> list[Fact]:
        """What is known of the body's results as its caller gets them."""
        return [self.get_settled(node) for node in self.body.results()]


@dataclass(eq=False)
class PlacedExperts:
    """The experts of one layer: how tokens reach them, and what one rank does with its own."""

    path: str  # relative to the module that calls them
    inside: Placed
    group: str | None  # that the experts are spread over, by its name
    travel: str | None  # the part of it over which tokens travel; all ranks of the rest hold the same
    shards: tuple[
        tuple[str, int], ...
    ]  # groups that have shares of the tokens, outermost first: see `Experts`


@dataclass(frozen=True)
class Uncut:
    """A parameter that the tensor axis was to cut, and could not."""

    parameter: str  # its name in the user's model
    axis: str
    body: Body
    node: fx.Node  # that has no rule for the cut
    reason: str
    routes: bool  # all that it decides is where tokens go


@dataclass(frozen=True)
class PlacedModel:
    """A model laid over a plan's mesh."""

    layout: Layout
    root: Placed
    uncut: tuple[Uncut, ...]  # parameters that are whole on every rank of a tensor axis, by no statement
