"""The collectives of a program: which conversion of a value's state each makes, and what it sends.

| verb | src -> dst | forward | backward |
| --- | --- | --- | --- |
| `all_reduce` | P -> I | all-reduce | nothing: the gradient of a sum is the same on every rank |
| `all_gather` | S -> R | all-gather | reduce-scatter |
| `all_gather` | S -> I | all-gather | nothing: each rank keeps its share of the gradient |
| `reduce_scatter` | P -> S | reduce-scatter | all-gather |
| `convert` | I -> R | nothing | all-reduce |
| `convert` | I -> S | nothing: each rank keeps its share | all-gather |
| `convert` | R -> S | nothing: each rank keeps its share | nothing |
| `convert` | R -> P | nothing: one rank keeps the value, the others have zeros | nothing |
| `dispatch`, `combine` | V -> V | all-to-all | all-to-all |

This table is the only place where the compiler states what a collective sends in either pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

from parc.ir.states import Kind, State

Verb: TypeAlias = Literal["all_reduce", "all_gather", "reduce_scatter", "convert", "dispatch", "combine"]
"""The function of the runtime that an emitted program calls."""

Wire: TypeAlias = Literal["all_reduce", "all_gather", "reduce_scatter", "all_to_all"]
"""The operation of the process group that a call issues."""


class Issued(NamedTuple):
    """What one call issues in each pass; None where it sends nothing."""

    forward: Wire | None
    backward: Wire | None


ISSUED: Mapping[tuple[Verb, Kind, Kind], Issued] = {
    ("all_reduce", Kind.PARTIAL, Kind.INVARIANT): Issued("all_reduce", None),
    ("all_gather", Kind.SHARDED, Kind.REPLICATE): Issued("all_gather", "reduce_scatter"),
    ("all_gather", Kind.SHARDED, Kind.INVARIANT): Issued("all_gather", None),
    ("reduce_scatter", Kind.PARTIAL, Kind.SHARDED): Issued("reduce_scatter", "all_gather"),
    ("convert", Kind.INVARIANT, Kind.REPLICATE): Issued(None, "all_reduce"),
    ("convert", Kind.INVARIANT, Kind.SHARDED): Issued(None, "all_gather"),
    ("convert", Kind.REPLICATE, Kind.SHARDED): Issued(None, None),
    ("convert", Kind.REPLICATE, Kind.PARTIAL): Issued(None, None),
    ("dispatch", Kind.VARYING, Kind.VARYING): Issued("all_to_all", "all_to_all"),
    ("combine", Kind.VARYING, Kind.VARYING): Issued("all_to_all", "all_to_all"),
}

_VERBS: Mapping[tuple[Kind, Kind], Verb] = {
    (src, dst): verb for verb, src, dst in ISSUED if src is not Kind.VARYING
}


def choose_verb(src: State, dst: State) -> Verb:
    """The collective that takes a value from one state to another.

    Raises:
        KeyError: there is none.
    """
    return _VERBS[src.kind, dst.kind]
