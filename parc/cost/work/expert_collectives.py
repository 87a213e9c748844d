"""The collectives of a layer of experts, for one microbatch."""

from __future__ import annotations

from math import comb

from parc.cost.job.job import Job
from parc.cost.work.part import NOTHING, Kind, Move, Moves, Over, resident
from parc.cost.work.tensor_collectives import into, out_of

WEIGHTS = "weights of choices"


INDEX = 8  # bytes of an expert's number, and of a count of rows


GATHER_SCATTER: tuple[Kind, Kind] = ("all_gather", "reduce_scatter")


def experts(job: Job) -> Moves:
    return _emitted(job) if job.practice.emitted else _megatron(job)


def dispatched(job: Job) -> float:
    """Tokens that one rank sends to their experts, of one microbatch."""
    return job.tokens if job.practice.emitted and job.degrees.expert_tensor > 1 else resident(job)


def received(job: Job) -> float:
    """Rows that a rank's experts get if routing is even: expected, whatever the routing."""
    of, by = job.architecture, job.degrees
    rows = dispatched(job) * of.top_k
    if not job.layout.travel:
        return rows / by.experts
    return rows * by.expert_tensor if job.layout.sequence and not job.practice.emitted else rows


def copies(experts: int, ranks: int, choices: int) -> float:
    """How many of `ranks` one token's experts are on, in the mean, if all choices are equally likely."""
    away = comb(experts - experts // ranks, choices) / comb(experts, choices)
    return ranks * (1 - away)


def _megatron(job: Job) -> Moves:
    of, by, layout = job.architecture, job.degrees, job.layout
    token = of.hidden * job.practice.element
    moves = _journeys(job)
    if by.experts > 1 and not layout.travel:
        moves += _both(Move("all_reduce", job.tokens * token, "experts"))
    if by.expert_tensor > 1 and layout.sequence:
        rows = received(job) * token * job.load
        gather, scatter = (Move(kind, rows, "expert_tensor", True) for kind in GATHER_SCATTER)
        moves += Moves((gather, scatter), (gather, scatter))
    elif by.expert_tensor > 1:
        moves += _both(Move("all_reduce", job.tokens * token, "expert_tensor"))
    if of.shared_ffn:
        moves += into(job) + out_of(job)
    return moves


def _emitted(job: Job) -> Moves:
    """As `parc.shard` places them: tests hold this against the events of compiled programs."""
    of, by, layout = job.architecture, job.degrees, job.layout
    # Whether each rank of `tensor` has a term of the experts' results.
    terms = by.expert_tensor > 1 or (layout.on_tensor and by.experts > 1 and not layout.travel)
    moves = NOTHING
    if terms:
        moves += into(job) + _weights(job, "tensor")
    if by.experts > 1 and layout.travel:
        counts = Moves((Move("all_to_all", of.experts * INDEX, "experts", what="counts of rows"),), ())
        moves += counts + _journeys(job)
    elif by.experts > 1 and not layout.on_tensor:
        token = of.hidden * job.practice.element
        # Terms over both groups are first summed over `tensor`, unless the shared expert adds its own.
        results = dispatched(job) if of.shared_ffn else resident(job)
        ahead = Move("all_reduce", results * token, "experts")
        back = Move("all_reduce", _dealt(job) * token, "experts")
        moves += Moves((ahead,), (back,)) + _weights(job, "experts")
    if of.shared_ffn:
        moves += into(job)
    if terms or of.shared_ffn:
        moves += out_of(job)
    return moves


def _weights(job: Job, over: Over) -> Moves:
    """Beside tokens that ranks do their parts of the experts' work on: their choices, and the weights."""
    choices = job.architecture.top_k * (job.tokens if over == "tensor" else _dealt(job))
    weights = choices * job.practice.element
    if over == "tensor" and job.layout.sequence:
        indices = Move("all_gather", choices * INDEX, over, what="choices")
        gathered = (indices, Move("all_gather", weights, over, what=WEIGHTS))
        return Moves(gathered, (Move("reduce_scatter", weights, over, what=WEIGHTS),))
    return Moves((), (Move("all_reduce", weights, over, what=WEIGHTS),))


def _dealt(job: Job) -> float:
    """Tokens that all ranks of `experts` have: the mesh's order decides what is done first."""
    return dispatched(job) if job.layout.tensor_first else resident(job)


def _journeys(job: Job) -> Moves:
    """Rows to the ranks of their experts and back, then the same of gradients."""
    of, by = job.architecture, job.degrees
    if by.experts == 1 or not job.layout.travel:
        return NOTHING
    each = copies(of.experts, by.experts, of.top_k) if job.practice.deduplicate else of.top_k
    bytes = dispatched(job) * each * of.hidden * job.practice.element * job.load
    there = 2 * (Move("all_to_all", bytes, "experts", True),)
    return Moves(there, there)


def _both(move: Move) -> Moves:
    return Moves((move,), (move,))
