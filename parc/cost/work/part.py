"""What one microbatch does in one part of a layer, on one rank.

A part is what can be computed again by itself, with the norm before it and the residual sum after:
attention's projections, its scores, an FFN, the experts. Bytes that elementwise operators move are counted as
if each norm, activation and sum were one kernel.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from parc.cost.job.job import Job
from parc.cost.job.parallelism import Recompute
from parc.record import dataclass

Kind = Literal["all_reduce", "all_gather", "reduce_scatter", "all_to_all"]
Over = Literal["tensor", "context", "experts", "expert_tensor"]

AGAIN: dict[Recompute, tuple[str, ...]] = {
    "none": (),
    "scores": ("scores",),
    "attention": ("attention", "scores"),
    "experts": ("experts",),
    "layer": ("attention", "scores", "ffn", "experts"),
}
"""The parts whose forward pass is repeated in the backward pass."""


class Matmul(NamedTuple):
    """(m x k) by (k x n), `batch` times side by side."""

    m: float
    n: float
    k: float
    batch: float = 1.0
    weight: bool = True  # whether (k x n) is a parameter

    @property
    def flops(self) -> float:
        return 2 * self.m * self.n * self.k * self.batch


class Move(NamedTuple):
    """A collective over a group of the layout; bytes as in `network.py`.

    `routed`: they are a mean over what routing decides. `what` is moved, where it is not what the part makes.
    """

    kind: Kind
    bytes: float
    over: Over
    routed: bool = False
    what: str = ""


class Moves(NamedTuple):
    """What a forward pass needs of other ranks, and what its backward pass does."""

    forward: tuple[Move, ...]
    backward: tuple[Move, ...]

    def __add__(self, other: Moves) -> Moves:  # type: ignore[override]  # not a longer tuple
        return Moves(self.forward + other.forward, self.backward + other.backward)


NOTHING = Moves((), ())


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    matmuls: tuple[Matmul, ...]
    traffic: float  # bytes in and out of memory besides the matmuls', forward
    kept: float  # bytes between forward and backward pass
    moves: Moves = NOTHING
    fused: float = 0.0  # FLOPs of fused attention, forward, as they are executed


def entry(job: Job) -> float:
    """Bytes that go into a layer, of one microbatch."""
    return resident(job) * job.architecture.hidden * job.practice.element


def resident(job: Job) -> float:
    """Tokens that this rank has between matmuls that are split."""
    return job.tokens / job.degrees.tensor if job.layout.sequence else job.tokens


def gathered(job: Job) -> float:
    """Tokens of a split matmul's input that are kept for its gradient."""
    return resident(job) if job.practice.regather else job.tokens
