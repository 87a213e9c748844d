"""Bytes that one rank holds when it holds most, by kind.

Parameters, gradients and optimizer state are arithmetic. Activations are what each part of a layer saves
(`work/`), times the microbatches that the schedule has in flight. Fragmentation and the memory of the runtime
itself are not counted.
"""

from __future__ import annotations

from math import prod

from parc.cost.job.job import Job, StageShape, cache_per_job
from parc.cost.job.software import Software
from parc.cost.memory import parameters
from parc.cost.schedule.in_flight import count_peak_at_head, find_fullest_moments
from parc.cost.work.attention import derive_attention, derive_scores
from parc.cost.work.part import RECOMPUTED_PARTS, Part, count_layer_input_bytes
from parc.cost.work.stage import derive_dense_ffn, derive_experts, derive_head, derive_other, derive_parts
from parc.named_tuple import NamedTuple
from parc.plan.schema.plan import SPLIT
from parc.record import dataclass


class ModelStates(NamedTuple):
    """Bytes that one rank holds whatever the schedule is."""

    parameters: float
    gradients: float
    optimizer: float


@dataclass(frozen=True, slots=True)
class RankMemory:
    """Bytes of one rank."""

    parameters: float
    gradients: float
    optimizer: float
    activations: float  # saved between forward and backward passes, logits not counted
    logits: float  # of the microbatches that are at the head, and the gradient of one
    working: float  # of the backward pass that runs: gradients, recomputed activations, gathered parameters

    @property
    def peak(self) -> float:
        """Bytes at the fullest moment. Logits and working memory are not there at the same time."""
        states = self.parameters + self.gradients + self.optimizer
        return states + self.activations + max(self.logits, self.working)


def count_model_states(job: Job, rank: int) -> ModelStates:
    """Of one pipeline rank.

    What ranks share is divided exactly: a shape does not say where one tensor ends. A program rounds up to
    whole elements, tensor by tensor (`parc/cost/program.py`).
    """
    held = [parameters.count_rank_parameters(job, stage) for stage in job.list_stages(rank)]
    others, experts = sum(each.non_experts for each in held), sum(each.experts for each in held)
    kept = sum(each.kept for each in held)
    plain = _count_states(job, job.software, others - kept, experts)
    if not kept:
        return plain
    wide = _count_states(job, job.software.widen(), kept, 0.0)
    return ModelStates(*map(sum, zip(plain, wide, strict=True)))


def _count_states(job: Job, software: Software, others: float, experts: float) -> ModelStates:
    """Of so many parameters of a rank, in the types of `software`."""
    layout = job.parallelism
    sharded = others / job.shard_ranks.others + experts / job.shard_ranks.experts
    whole = others + experts
    if layout.shard == "parameters":  # the shard is the master: modules are gathered in the type of `compute`
        return ModelStates(
            parameters=sharded * software.master_bytes,
            gradients=sharded * software.gradient_bytes,
            optimizer=sharded * software.moment_bytes,
        )
    return ModelStates(
        parameters=whole * software.element_bytes,
        gradients=(sharded if layout.shard == "gradients" else whole) * software.gradient_bytes,
        optimizer=(whole if layout.shard == "none" else sharded) * software.optimizer_bytes,
    )


def predict_memory(job: Job, rank: int) -> RankMemory:
    """Of one pipeline rank.

    Raises:
        ValueError: the schedule does not admit these chunks or microbatches.
    """
    layout, degrees, states = job.parallelism, job.degrees, count_model_states(job, rank)
    stages = job.list_stages(rank)
    saved = [_count_saved_bytes(job, stage) for stage in stages]
    if layout.schedule in SPLIT:
        saved += [_count_half_backward_bytes(job, stage) for stage in stages]
    moments = find_fullest_moments(
        layout.schedule, degrees.pipeline, layout.chunks, layout.microbatches, rank
    )
    fullest = max(
        sum(
            count * bytes
            for count, bytes in zip((*moment.outstanding, *moment.awaiting_weights), saved, strict=False)
        )
        for moment in moments
    )
    return RankMemory(
        parameters=states.parameters,
        gradients=states.gradients,
        optimizer=states.optimizer,
        activations=fullest,
        logits=_count_logits_bytes(job, rank) if any(stage.has_head for stage in stages) else 0.0,
        working=max(map(_count_working_bytes, [job] * len(stages), stages, saved)),
    )


def _count_saved_bytes(job: Job, stage: StageShape) -> float:
    """Bytes of one microbatch between its forward and its backward pass through a stage."""
    return sum(count * _measure_layer(job, sparse)[0] for count, sparse in _list_layer_kinds(stage))


def _count_half_backward_bytes(job: Job, stage: StageShape) -> float:
    """Bytes of one microbatch, on top, between the halves of its backward pass through a stage.

    PyTorch still holds all that the forward pass saved, and the gradient of the result of each weight's
    matmul (`stage_backward_input` of torch.distributed.pipelining). For the first stage it runs both halves
    at once.
    """
    if stage.has_embedding:
        return 0.0
    return sum(
        [
            count * job.software.element_bytes * each.m * each.n * each.batch
            for count, part in derive_parts(job, stage)
            for each in part.matmuls
            if each.has_parameter
        ]
    )


def count_head_microbatches(job: Job, rank: int) -> int:
    """Microbatches whose logits this rank holds at once, if it has the head."""
    layout = job.parallelism
    return count_peak_at_head(layout.schedule, job.degrees.pipeline, layout.chunks, layout.microbatches, rank)


def _count_logits_bytes(job: Job, rank: int) -> float:
    """And those of the head in its backward pass, which begins when the logits of its microbatch are free."""
    one = derive_head(job).saved_bytes
    gradient = job.software.element_bytes * job.tokens * job.architecture.vocab / job.degrees.tensor
    each, count = one - gradient, count_head_microbatches(job, rank)
    stage = next(stage for stage in job.list_stages(rank) if stage.has_head)
    held = parameters.count_rank_parameters(job, stage)
    tied = parameters.is_tied(job, stage)
    gathered, reduced = _count_shared_bytes(job, held.head, 0.0, held.kept_head)
    backward = 0.0 if tied else gathered + reduced
    return max(each, backward) + (count - 1) * each + gradient + gathered * tied


def _count_shared_bytes(job: Job, others: float, experts: float, kept: float = 0.0) -> tuple[float, float]:
    """Bytes of these parameters while they are gathered, and of their gradients before they are reduced.

    Of the `others` so many are `kept` in 32 bits.
    """
    software, ranks, shard = job.software, job.shard_ranks, job.parallelism.shard
    if shard not in ("gradients", "parameters"):
        return 0.0, 0.0
    gathered = others + experts if shard == "parameters" else 0.0
    reduced = others * (ranks.others > 1) + experts * (ranks.experts > 1)
    wide = software.widen()
    wider = kept * (shard == "parameters") * (wide.element_bytes - software.element_bytes)
    wider_sums = kept * (ranks.others > 1) * (wide.gradient_bytes - software.gradient_bytes)
    return gathered * software.element_bytes + wider, reduced * software.gradient_bytes + wider_sums


def _count_working_bytes(job: Job, stage: StageShape, saved: float) -> float:
    """Bytes of the largest layer while its backward pass runs, or of the gradient of the embedding.

    That is there when what the microbatch has `saved` is free. A table that is the head as well is gathered
    for the whole pass.
    """
    held = parameters.count_rank_parameters(job, stage)
    tied = parameters.is_tied(job, stage)
    gathered, reduced = (
        _count_shared_bytes(job, held.head, 0.0, held.kept_head)
        if tied
        else _count_shared_bytes(job, held.embedding, 0.0)
    )
    largest = max(0.0, reduced - saved)
    for _, has_experts in _list_layer_kinds(stage):
        working = _measure_layer(job, has_experts)[1]
        layer = StageShape(int(not has_experts), int(has_experts), False, False)
        held = parameters.count_rank_parameters(job, layer)
        shared = _count_shared_bytes(job, held.non_experts, held.experts, held.kept)
        largest = max(largest, working + sum(shared))
    return largest + gathered * tied


def _list_layer_kinds(stage: StageShape) -> list[tuple[int, bool]]:
    """How many layers there are of each kind, and whether these have experts."""
    kinds = ((stage.dense_layers, False), (stage.moe_layers, True))
    return [(count, has_experts) for count, has_experts in kinds if count]


def _measure_layer(job: Job, has_experts: bool) -> tuple[float, float]:
    """Bytes that are saved after a layer's forward pass, and those that its backward pass adds."""
    return (_measure_moe_layer if has_experts else _measure_dense_layer)(job)


@cache_per_job
def _measure_moe_layer(job: Job) -> tuple[float, float]:
    return _measure_parts(job, derive_experts(job))


@cache_per_job
def _measure_dense_layer(job: Job) -> tuple[float, float]:
    return _measure_parts(job, derive_dense_ffn(job))


def _measure_parts(job: Job, last: Part) -> tuple[float, float]:
    parts = [derive_attention(job), derive_scores(job), last]
    if job.architecture.other:
        parts.append(derive_other(job))
    again = [part for part in parts if part.name in RECOMPUTED_PARTS[job.parallelism.recompute]]
    recomputed = sum(part.saved_bytes for part in again)
    saved = sum(part.saved_bytes for part in parts) - recomputed
    held = 0.0
    if again and again[0].name != "scores":  # its inputs, which the part before does not save either
        held += count_layer_input_bytes(job)
    if job.software.keeps_collectives:
        held += sum(_count_collected_bytes(job, part) for part in again)
        if again and job.parallelism.recompute != "layer":  # a module is repeated, not the norm before it
            held += count_layer_input_bytes(job)
        recomputed = max(0.0, recomputed - held)  # the layer that is recomputed uses up what it has held
    return saved + held, recomputed + max(_count_gradient_bytes(job, part) for part in parts)


def _count_collected_bytes(job: Job, part: Part) -> float:
    """Bytes of the results of the collectives in a part's forward pass, on one rank."""
    return sum(
        each.bytes
        / (prod(getattr(job.parallelism.groups, each.group)) if each.kind == "reduce_scatter" else 1)
        for each in part.collectives.forward
    )


def _count_gradient_bytes(job: Job, part: Part) -> float:
    """Bytes of the gradients in the backward pass of one part when they are most.

    They are those of a matmul's result, of its input and of its weight, and that of the residual stream.
    Where gradients are sharded, those of a layer's weights are counted as a whole.
    """
    own_weights = job.parallelism.shard not in ("gradients", "parameters")
    most = max(
        (
            each.batch * (each.m * (each.n + each.k) + own_weights * each.has_parameter * each.k * each.n)
            for each in part.matmuls
        ),
        default=0.0,
    )
    return job.software.element_bytes * most + count_layer_input_bytes(job)
