"""Bytes that one rank holds when it holds most, by kind.

Parameters, gradients and optimizer state are arithmetic. Activations are what each part of a layer saves
(`work/`), times the microbatches that the schedule has in flight. Fragmentation and the memory of the runtime
itself are not counted.
"""

from __future__ import annotations

from math import prod

from parc.cost.job.job import Job, StageShape, cache_per_job
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
    layout, software = job.parallelism, job.software
    held = [parameters.count_rank_parameters(job, stage) for stage in job.list_stages(rank)]
    others, experts = sum(each.non_experts for each in held), sum(each.experts for each in held)
    data = prod(layout.groups.data)
    sharded = others / data + experts / prod(layout.groups.expert_data)
    whole = others + experts
    outside = sum(parameters.count_whole(job, each) for each in held)
    if layout.shard == "parameters":  # the shard is the master: layers are gathered in the type of `compute`
        inside = sharded - outside / data
        return ModelStates(
            parameters=inside * software.master_bytes + outside * software.element_bytes,
            gradients=(inside + outside) * software.gradient_bytes,
            optimizer=inside * software.moment_bytes + outside / data * software.optimizer_bytes,
        )
    gradients = whole
    if layout.shard == "gradients":  # each backward pass reduces those of layers
        gradients = sharded + outside * (1 - 1 / data)
    return ModelStates(
        parameters=whole * software.element_bytes,
        gradients=gradients * software.gradient_bytes,
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
        working=max(_count_working_bytes(job, stage) for stage in stages),
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
    one = derive_head(job).saved_bytes
    gradient = job.software.element_bytes * job.tokens * job.architecture.vocab / job.degrees.tensor
    return count_head_microbatches(job, rank) * (one - gradient) + gradient


def _count_working_bytes(job: Job, stage: StageShape) -> float:
    """Bytes of the largest layer while its backward pass runs."""
    largest = 0.0
    for _, has_experts in _list_layer_kinds(stage):
        working = _measure_layer(job, has_experts)[1]
        if job.parallelism.shard in ("gradients", "parameters"):
            held = parameters.count_rank_parameters(
                job, StageShape(int(not has_experts), int(has_experts), False, False)
            )
            gathered = held.total if job.parallelism.shard == "parameters" else 0.0
            reduced = held.non_experts * (job.degrees.data > 1) + held.experts * (job.degrees.expert_data > 1)
            working += gathered * job.software.element_bytes + reduced * job.software.gradient_bytes
        largest = max(largest, working)
    return largest


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
