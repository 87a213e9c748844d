"""What a program does, as lists of events: the one source of emission, matching, cost and simulation.

A `Unit` is a module class of the emitted program; its events are its forward pass, in order. Shapes are those
of one rank. What follows from them is not written down again: the backward pass is the forward pass in
reverse, each move answered by its dual (`DUAL`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

DUAL = {
    "replicate": "all_reduce",
    "all_reduce": None,  # the gradient of a sum is the same on every rank
    "all_gather": "reduce_scatter",
    "reduce_scatter": "all_gather",
    "gather": None,  # each rank keeps its share of the gradient
    "split": "all_gather",
    "take": None,
    "first": None,
    "dispatch": "dispatch",
    "combine": "combine",
}
"""What a move issues in the backward pass; None where it issues nothing."""


@dataclass(frozen=True, slots=True)
class OnAxis:
    """How a value lies on one axis. Whatever is said of no axis is whole on it, and so is its gradient.

    | kind | each rank holds | the gradient that each rank holds |
    | --- | --- | --- |
    | replicated | the whole value | a term of a sum over the axis |
    | partial | a term of a sum over the axis | the whole gradient |
    | sharded | its share of each of `blocks` equal blocks of `dim` | the same share |
    """

    axis: str
    kind: Literal["replicated", "partial", "sharded"]
    dim: int = -1
    blocks: int = 1


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor on one rank. Its sizes are numbers, or the name of a count that routing decides.

    `states` has the mesh's order. It says nothing of what an expert is given: routing deals that out. Units
    that differ in states alone run the same code, and are one.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    states: tuple[OnAxis, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Collective:
    """A move of a value over one axis. `change` tells why: its state before and after."""

    result: Value
    operand: Value
    move: str  # a key of DUAL
    axis: str
    change: str
    dim: int = 0
    outer: int = 1
    grad: bool = True  # whether a gradient flows back
    reduction: Literal["sum", "max"] = "sum"  # of an all-reduce


@dataclass(frozen=True, slots=True)
class Compute:
    """Arithmetic of one rank, `text` in Python. `inside` are the moves that the runtime makes for it."""

    results: tuple[Value, ...]
    text: str
    inside: tuple[Collective, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """The forward pass of a member."""

    results: tuple[Value, ...]
    member: str  # attribute path, or the loop's variable
    operands: tuple[str, ...]
    unit: str


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


Event: TypeAlias = "Compute | Collective | Call | Repeat | Send | Recv"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a unit, by its attribute path."""

    path: str
    shape: tuple[int, ...]  # global
    dtype: str
    sharded: Mapping[str, tuple[int, int]]  # axis -> dim, and in how many blocks it is cut
    reduce: tuple[str, ...]  # axes over which each rank's gradient is a term of a sum
    recipe: tuple[tuple[str | float, ...], ...]
    experts: bool = False  # dim 0 counts experts
    stack: str | None = None  # the part of the path that was a list of experts


@dataclass(frozen=True, slots=True)
class Buffer:
    """A constant tensor of a unit, and the statements that compute it."""

    path: str
    statements: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Unit:
    """One module class."""

    name: str
    path: str  # of one module in the user's model that it stands for
    doc: str | None
    groups: tuple[str, ...]  # axes whose process groups its forward uses
    parameters: tuple[Parameter, ...]
    buffers: tuple[Buffer, ...]
    members: Mapping[str, str]  # attribute path -> unit
    inputs: tuple[Value, ...]
    events: tuple[Event, ...]
    results: tuple[Value, ...]
    experts: Experts | None = None


@dataclass(frozen=True, slots=True)
class Experts:
    """What makes a unit one of experts: where its rows come from."""

    count: int
    axis: str | None
    travel: bool


@dataclass(frozen=True, slots=True)
class Stage:
    """One pipeline stage: a root unit, and all units below it, callees first."""

    root: Unit
    units: tuple[Unit, ...]
    first_layer: int
    layers: tuple[str, ...]  # the units of its layers
    layers_path: str
    keywords: tuple[str, ...]  # of the batch, by name, besides what comes first
    gives: tuple[Value, ...]


@dataclass(frozen=True)
class Program:
    """A whole plan: a stage for every rank of the pipeline axis, and how the last's results make the loss."""

    stages: tuple[Stage, ...]
    mean: bool  # the model returns its loss; else the last stage gives the sum of its tokens' losses
    balanced: bool
    loss_axes: tuple[str, ...]
    balance_axes: tuple[str, ...]
    load_axes: tuple[str, ...] | None
    flops: float  # of a step, on all devices
    notes: tuple[str, ...] = field(default=())
