"""What a program does, as lists of events: the one source of emission, matching, cost and simulation.

A `Unit` is a module class of the emitted program; its events are its forward pass, in order. Shapes are those
of one rank. What follows from them is not written down again: the backward pass is the forward pass in
reverse, and `parc.ir.collectives` states what each collective issues in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from parc.ir.collectives import ISSUED, Verb, Wire
from parc.ir.expression import Expression, name
from parc.ir.states import State

ROOT = "Stage"
"""The name of the class of every stage's root."""

Recipe: TypeAlias = tuple[tuple[str | float, ...], ...]
"""Calls that fill an empty tensor, each a name and its arguments."""

Shape: TypeAlias = tuple[int | str, ...]
"""The sizes of one rank's share: numbers, or the name of a count that routing decides."""


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor on one rank.

    `states` has an entry for each axis on which the value is not invariant, in the order of the mesh. An
    expert's rows have none: routing distributes them. Units that differ in states alone run the same code,
    and are one.
    """

    name: str
    shape: Shape
    dtype: str
    states: Mapping[str, State] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Operand:
    """A value where it is read: the expression that stands for it, and what is known of the value."""

    expression: Expression
    shape: Shape
    dtype: str
    states: Mapping[str, State] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, value: Value) -> Operand:
        """A variable, as it was bound."""
        return cls(Expression(name(value.name)), value.shape, value.dtype, value.states)


@dataclass(frozen=True, slots=True)
class Collective:
    """A change of a value's state on one axis.

    `src` and `dst` are the arguments of the call, so their blocks are those of a rank's own share: where
    several axes shard one dim, `Value.states` counts the blocks of the whole.
    """

    result: Value
    operand: Operand
    verb: Verb
    src: State
    dst: State
    axis: str  # of the mesh, or the name of a group over several
    grad: bool = True  # whether a gradient flows back
    reduction: Literal["sum", "max"] = "sum"  # of an all-reduce
    routes: bool = False  # whether it decides where rows go, so that recomputation keeps its result

    @property
    def forward(self) -> Wire | None:
        """The operation that the forward pass issues."""
        return ISSUED[self.verb, self.src.kind, self.dst.kind].forward

    @property
    def backward(self) -> Wire | None:
        """The operation that the backward pass issues; None where no gradient flows back."""
        return ISSUED[self.verb, self.src.kind, self.dst.kind].backward if self.grad else None


@dataclass(frozen=True, slots=True)
class Compute:
    """Arithmetic of one rank. The runtime issues the collectives `inside` for it.

    The result of a temporary one has no name in the user's code and is read once: emission may write the
    value where it is read, if nothing comes between the two.
    """

    results: tuple[Value, ...]
    value: Expression
    inside: tuple[Collective, ...] = ()
    temporary: bool = False


@dataclass(frozen=True, slots=True)
class Accumulate:
    """Adds to a buffer of the unit, in place. A recomputation of the unit must not do so again."""

    buffer: str  # attribute path
    value: Expression
    recomputed: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """The forward pass of a member; see `Compute` for temporary ones.

    The backward pass of a recomputed one begins with another forward pass. What routes is kept, and so are
    the results of its collectives, unless it resends: then the second pass issues them again.
    """

    results: tuple[Value, ...]
    member: str  # attribute path, or the loop's variable
    operands: tuple[Operand, ...]
    unit: str
    temporary: bool = False
    recomputed: bool = False
    resends: bool = False


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same events for each of a run of layers, which differ in their parameters alone."""

    layers: str  # attribute path
    start: int  # of the run, counted in the stage's own layers
    count: int
    total: int
    body: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Send:
    """To the stage after (the gradient comes back from it)."""

    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Recv:
    """From the stage before."""

    values: tuple[Value, ...]


Event: TypeAlias = "Compute | Collective | Accumulate | Call | Repeat | Send | Recv"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a unit. Modules that differ in the initial values of parameters alone are one unit."""

    path: str
    shape: tuple[int, ...]  # global
    dtype: str
    sharded: Mapping[str, tuple[int, int]]  # axis -> dim, and in how many blocks it is cut
    reduce: tuple[str, ...]  # axes over which each rank's gradient is a term of a sum
    experts: bool = False  # dim 0 counts experts
    stack: str | None = None  # the part of the path that was a list of experts, "" if the unit was the list
    keep_fp32: bool = False  # it, its gradient, and what ranks send of that have at least 32 bits


@dataclass(frozen=True, slots=True)
class Let:
    """A variable of a constructor."""

    name: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Do:
    """An expression of a constructor that changes a tensor, and whose value is not read."""

    value: Expression


@dataclass(frozen=True, slots=True)
class Buffer:
    """A constant tensor of a unit. It reads variables of its own and of the buffers before it."""

    path: str
    statements: tuple[Let | Do, ...]
    value: Expression


@dataclass(frozen=True, slots=True)
class Requirement:
    """The sizes of an input that a forward pass is bound to: those of its dims from `first` on."""

    input: str
    first: int
    sizes: tuple[int, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Unit:
    """One module class."""

    name: str
    path: str  # of one module in the user's model that it stands for
    doc: str | None
    groups: tuple[str, ...]  # the process groups that its forward uses, by the names of their axes
    parameters: tuple[Parameter, ...]
    buffers: tuple[Buffer, ...]
    members: Mapping[str, str]  # attribute path -> unit
    inputs: tuple[Value, ...]
    events: tuple[Event, ...]
    results: tuple[Operand, ...]
    numbers: Mapping[str, int | float] = field(default_factory=dict)  # the user's attributes that are read
    layers: Mapping[str, Expression] = field(default_factory=dict)  # constructors, by attribute path
    experts: Experts | None = None
    order: tuple[str, ...] = ()  # of parameters, members and layers in the user's module
    requirement: Requirement | None = None


@dataclass(frozen=True, slots=True)
class Experts:
    """What makes a unit one of experts: where its rows come from."""

    count: int
    group: str | None  # whose ranks have equal shares of the experts, by its name
    travel: str | None  # the part of the group whose ranks have tokens of their own, which travel
    reached: int  # how many of the experts they can travel to
    capacity: float | None = None  # rows of an expert / its even share, beyond which pairs are dropped
    shards: tuple[tuple[str, int], ...] = ()
    """With a capacity: the groups whose ranks have shares of the tokens, outermost first, and into how many
    blocks a rank's tokens are cut before each block is divided among them."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One pipeline stage: a root unit, and all units below it, callees first."""

    root: Unit
    units: tuple[Unit, ...]
    first_layer: int
    layers: tuple[str, ...]  # the units of its layers
    layers_path: str
    keywords: tuple[str, ...]  # of the batch, by name, besides what comes first
    shapes: tuple[Expression, ...] = ()  # of what it gives, over `sequences` and `length` of a microbatch

    @property
    def gives(self) -> tuple[Value, ...]:
        """What the stage sends to the next one; nothing from the last."""
        return next((event.values for event in reversed(self.root.events) if isinstance(event, Send)), ())


@dataclass(frozen=True)
class Program:
    """A whole plan: a stage for every rank of the pipeline axis, and how the last's results make the loss."""

    stages: tuple[Stage, ...]
    mean: bool  # the model returns its loss; else the last stage gives the sum of its tokens' losses
    balanced: bool
    loss_axes: tuple[str, ...]
    balance_axes: tuple[str, ...]
    balance_ranks: int  # whose balance losses, each of its own tokens, the balance loss is the mean of
    load_axes: tuple[str, ...] | None
    flops: float  # of a step, on all devices
    recipes: Mapping[str, Recipe]  # the initial value of each parameter of the user's model
    stored: bytes = b""  # the file of the initial values that are no draws; empty without any
    stored_buffers: bool = False  # whether it has values of buffers
    known_ids: int | None = None  # ids from 0 that the model knows
    notes: tuple[str, ...] = field(default=())
