"""How a value lies on one mesh axis, in the forward pass and, by duality, in the backward pass.

| state | each rank holds | the gradient that each rank holds |
| --- | --- | --- |
| invariant | the whole value | the whole gradient |
| replicated | the whole value | a term of a sum over the axis |
| partial | a term of a sum over the axis | the whole gradient |
| sharded | its share of a dim | its share of that dim |

Invariant and replicated differ in the gradient alone. The four, and the moves between them, are those of the
type systems for SPMD programs of JAX's shard_map ("varying" values) and of PyTorch's spmd_types.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """The states but for the dim of a sharded one."""

    INVARIANT = "invariant"
    REPLICATED = "replicated"
    PARTIAL = "a partial sum"
    SHARDED = "sharded"
    FREE = "free"  # a parameter whose placement over a tensor axis is not decided yet


@dataclass(frozen=True, slots=True)
class State:
    """A sharded dim is cut in `outer` equal blocks, each of which is shared out over the axis: 1 is plain.

    Flattening (B, S) with S sharded yields one dim with `outer` = B; a fused (q | k | v) weight has `outer` =
    3.
    """

    kind: Kind
    dim: int = -1
    outer: int = 1

    def __str__(self) -> str:
        return f"sharded on dim {self.dim}" if self.kind is Kind.SHARDED else self.kind.value

    @property
    def sharded(self) -> bool:
        """Whether each rank holds its share."""
        return self.kind is Kind.SHARDED

    @property
    def partial(self) -> bool:
        """Whether each rank holds a term of a sum."""
        return self.kind is Kind.PARTIAL


I = State(Kind.INVARIANT)  # noqa: E741 - the field's one-letter names
R = State(Kind.REPLICATED)
P = State(Kind.PARTIAL)
FREE = State(Kind.FREE)


def S(dim: int, outer: int = 1) -> State:
    """Sharded on `dim`, in each of `outer` blocks."""
    return State(Kind.SHARDED, dim, outer)


def shift(state: State, by: int) -> State:
    """The state of the same value with `by` more dims in front."""
    return S(state.dim + by, state.outer) if state.sharded else state


def joined(states: Iterable[State]) -> State:
    """Of values that are whole on every rank: invariant where all are, else replicated."""
    return R if any(state.kind is Kind.REPLICATED for state in states) else I


def local_shape(
    shape: tuple[int, ...], states: Mapping[str, State], sizes: Mapping[str, int]
) -> tuple[int, ...]:
    """The shape of a rank's share of a value. Exact where `check_divides` holds."""
    local = list(shape)
    for axis, state in states.items():
        if state.sharded:
            local[state.dim] //= sizes[axis]
    return tuple(local)
