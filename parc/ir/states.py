"""How a value lies on one mesh axis, in the forward pass and, by duality, in the backward pass.

| state | each rank holds | the gradient that each rank holds |
| --- | --- | --- |
| `I`, invariant | the whole value | the whole gradient |
| `R`, replicate | the whole value | a term of a sum over the axis |
| `P`, partial | a term of a sum over the axis | the whole gradient |
| `S(dim)`, sharded | its share of a dim | its share of that dim |
| `V`, varying | a value of its own | a gradient of its own |

Invariant and replicate differ in the gradient alone. The names are those of PyTorch's spmd_types; JAX's
shard_map has the same types. Emitted programs write the states as the arguments of their collectives
(`parc/runtime/collectives.py`), in the notation that `str` gives here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """The states but for the dim of a sharded one. A value is the description for a message to the user."""

    INVARIANT = "invariant"
    REPLICATE = "replicated"
    PARTIAL = "a partial sum"
    SHARDED = "sharded"
    VARYING = "varying"  # rows that routing distributes
    FREE = "free"  # a parameter whose placement over a tensor axis is not decided yet


@dataclass(frozen=True, slots=True)
class State:
    """A sharded dim consists of `blocks` equal blocks, and each rank holds its share of every block.

    Flattening (B, S) with S sharded yields one dim of B blocks; a fused (q | k | v) weight has 3 blocks.
    """

    kind: Kind
    dim: int = -1
    blocks: int = 1

    def __str__(self) -> str:
        """The notation of emitted programs."""
        if not self.sharded:
            return self.kind.name[0]
        return f"S({self.dim}, blocks={self.blocks})" if self.blocks > 1 else f"S({self.dim})"

    def describe(self) -> str:
        """The state in words."""
        return f"sharded on dim {self.dim}" if self.sharded else self.kind.value

    @property
    def sharded(self) -> bool:
        """Whether each rank holds its share of a dim."""
        return self.kind is Kind.SHARDED

    @property
    def partial(self) -> bool:
        """Whether each rank holds a term of a sum."""
        return self.kind is Kind.PARTIAL


I = State(Kind.INVARIANT)  # noqa: E741 - the field's one-letter names
R = State(Kind.REPLICATE)
P = State(Kind.PARTIAL)
V = State(Kind.VARYING)
FREE = State(Kind.FREE)


def S(dim: int, blocks: int = 1) -> State:
    """Sharded on `dim`, in each of `blocks` blocks."""
    return State(Kind.SHARDED, dim, blocks)


def shift(state: State, by: int) -> State:
    """The state of the same value with `by` more dims in front."""
    return S(state.dim + by, state.blocks) if state.sharded else state


def join_states(states: Iterable[State]) -> State:
    """The state of what is computed from values in `I` or `R`: invariant where all are, else replicate."""
    return R if any(state.kind is Kind.REPLICATE for state in states) else I


def derive_gradient_state(state: State) -> State:
    """The state of a value's gradient."""
    return {Kind.REPLICATE: P, Kind.PARTIAL: I}.get(state.kind, state)


def derive_local_shape(
    shape: tuple[int, ...], states: Mapping[str, State], sizes: Mapping[str, int]
) -> tuple[int, ...]:
    """The shape of one rank's share of a value, given the size of each axis.

    Exact where every sharded dim divides evenly, which propagation checks.
    """
    local = list(shape)
    for axis, state in states.items():
        if state.sharded:
            local[state.dim] //= sizes[axis]
    return tuple(local)
