"""The figures of a job, each with its derivation and its grade."""

from __future__ import annotations

from parc.cost.figure import Figure, Grade, add_figures, format_microbatches, format_quantity
from parc.cost.job.job import Job
from parc.cost.job.parallelism import STRATEGIES
from parc.cost.memory import parameters
from parc.cost.memory.peak import count_head_microbatches, count_model_states, predict_memory
from parc.cost.network.traffic import bound_other_bytes, derive_traffic
from parc.cost.timing.constants import Calibration, find_nearest_calibration
from parc.cost.timing.step import predict_step
from parc.plan.schema.plan import SPLIT

PEAK_TOLERANCE = 0.1
"""How far the peak of a device may be from that of a calibrated one to count as the same."""
FITTED_BYTES = 2
"""Bytes of an element in the runs that constants are fitted to."""


def explain_states(job: Job, rank: int) -> tuple[Figure, ...]:
    """Bytes of parameters, gradients and optimizer on one pipeline rank, whatever the schedule is."""
    states, software, shard = count_model_states(job, rank), job.software, job.parallelism.shard
    held = [parameters.count_rank_parameters(job, stage) for stage in job.list_stages(rank)]
    others, experts = sum(each.non_experts for each in held), sum(each.experts for each in held)

    kept = sum(each.kept for each in held)

    def format_states(bytes: int, sharded: bool) -> str:
        return _format_product(job, others - kept, experts, bytes, sharded)

    gathered = shard == "parameters"
    of_elements = format_states(software.master_bytes if gathered else software.element_bytes, gathered)
    of_gradients = format_states(software.gradient_bytes, shard in ("gradients", "parameters"))
    of_optimizer = format_states(
        software.moment_bytes if gathered else software.optimizer_bytes, shard != "none"
    )
    in_fp32 = f" + those of {kept:,.0f} in fp32" if kept else ""
    return (
        Figure("parameters", states.parameters, "B", of_elements + in_fp32, "exact"),
        Figure("gradients", states.gradients, "B", of_gradients + in_fp32, "exact"),
        Figure("optimizer", states.optimizer, "B", of_optimizer + in_fp32, "exact"),
    )


def explain_memory(job: Job, rank: int) -> Figure:
    """Bytes of one pipeline rank when it holds most, by kind.

    Raises:
        ValueError: the schedule is unknown, or does not admit these chunks and microbatches.
    """
    memory, layout = predict_memory(job, rank), job.parallelism
    in_flight = f"{layout.schedule}, {format_microbatches(layout.microbatches)}"
    saved = f"saved between passes: {in_flight}, recompute = {layout.recompute}"
    if layout.recompute != "none":
        again = "kept" if job.software.keeps_collectives else "issued again"
        saved += f", collectives {again}"
    parts = [*explain_states(job, rank), Figure("activations", memory.activations, "B", saved, "estimated")]
    if memory.logits >= memory.working and memory.logits:
        count = count_head_microbatches(job, rank)
        logits = (
            f"logits of {count:,} microbatches, the gradient of one" if count > 1 else "logits and gradient"
        )
        sizes = f"{job.tokens:,.0f} tokens x vocabulary {job.architecture.vocab:,} / {job.degrees.tensor}"
        parts.append(Figure("logits", memory.logits, "B", f"{logits}, {sizes}", "estimated"))
    elif memory.working:
        largest = "the largest layer in its backward pass"
        parts.append(Figure("working", memory.working, "B", largest, "estimated"))
    return add_figures("peak", parts)


def _format_product(job: Job, others: float, experts: float, bytes: int, sharded: bool) -> str:
    """Parameters times bytes of each; where `sharded`, divided by the ranks that would hold the same ones."""
    data, copies = job.shard_ranks
    if not sharded:
        return f"{others + experts:,.0f} x {bytes} B"
    if not experts or data == copies:
        return f"{others + experts:,.0f} x {bytes} B / {data} data ranks"
    of_experts = f"{experts:,.0f} of experts x {bytes} B"
    copied = f" / {copies} copies" if copies > 1 else ""
    return f"{others:,.0f} x {bytes} B / {data} data ranks + {of_experts}{copied}"


def explain_traffic(job: Job, stage: int) -> tuple[Figure, ...]:
    """Bytes of all buffers that one rank of a stage communicates in one step, by purpose."""
    named = [
        Figure(
            f"{each.purpose}: {each.kind} over {STRATEGIES.get(each.group, each.group)}",
            each.total,
            "B",
            f"{each.calls:,} calls of {each.bytes:,.0f} B",
            "expected" if each.routed else "exact",
        )
        for each in derive_traffic(job, stage)
    ]
    if job.software.emitted:
        how = "at most: shares and loads of experts, sums of losses and norms"
        named.append(Figure("metrics", bound_other_bytes(job, stage), "B", how, "estimated"))
    return tuple(named)


def explain_flops(job: Job) -> Figure:
    """FLOPs of one step on one device, as torch's counter counts them; recomputation is not counted."""
    each = parameters.count_flops(job) / count_devices(job)
    tokens = parameters.count_tokens(job)
    how = f"3 x forward FLOPs of {tokens:,.0f} tokens / {count_devices(job):,} devices"
    return Figure("arithmetic", each, "FLOP", how, "exact")


def explain_step(job: Job) -> Figure:
    """Seconds of one step.

    Raises:
        ValueError: the hardware or the schedule is unknown, or the schedule does not admit these chunks or
            microbatches.
    """
    known = find_nearest_calibration(job.require_hardware())
    grade = grade_times(job, known)
    step, layout = predict_step(job, known.constants), job.parallelism
    forward = f"{step.forward[0].seconds:.3g} s forward on stage 0"
    passes = f"{layout.schedule}, {format_microbatches(layout.microbatches)} of {forward}"
    source = f"constants of {known.kind}, {known.error:.1%} off on {known.rows} runs"
    if job.software.element_bytes > FITTED_BYTES:
        source += f"; {_describe_precision(job)}"
    return add_figures(
        "step",
        (
            Figure("pipeline", step.pipeline, "s", f"{passes}; {source}", grade),
            Figure(
                "gradients", step.gradients, "s", "their collectives, as far as no pass hides them", grade
            ),
            Figure("optimizer", step.optimizer, "s", "reads and writes of its state", grade),
            Figure("rest", known.constants.step, "s", f"overhead of every step; {source}", grade),
        ),
    )


def _describe_precision(job: Job) -> str:
    """Which peak and which constants are taken for an element type that no measured run has."""
    hardware, bits, fitted_bits = job.require_hardware(), 8 * job.software.element_bytes, 8 * FITTED_BYTES
    peak = format_quantity(hardware.peak_flops, "FLOP/s")
    if hardware.peak_flops_16bit:
        return f"the constants are those of {fitted_bits} bits, the peak of {peak} is that of {bits} bits"
    return f"the constants and the peak of {peak} are those of {fitted_bits} bits: {bits} bits take longer"


def explain_mfu(job: Job) -> Figure:
    """The share of the devices' peak that the arithmetic of a step uses.

    Raises:
        ValueError: as `explain_step`.
    """
    flops, step, peak = explain_flops(job), explain_step(job), job.require_hardware().peak_flops
    how = f"{flops.value:.4g} FLOP / {step.value:.4g} s / {peak:.4g} FLOP/s"
    return Figure("mfu", flops.value / step.value / peak, "", how, step.grade, (flops, step))


def count_devices(job: Job) -> int:
    """Devices that the job runs on."""
    degrees = job.degrees
    dense = degrees.data * degrees.tensor
    experts = degrees.experts * degrees.expert_tensor * degrees.expert_data
    return max(dense, experts) * degrees.pipeline


def grade_times(job: Job, known: Calibration) -> Grade:
    """The grade of every time that is predicted with these constants.

    Times are calibrated on a machine like that of the constants, in 16 bits. No fitted run splits its
    backward passes.
    """
    difference = abs(job.require_hardware().rated_flops / known.rated_flops - 1)
    same = difference <= PEAK_TOLERANCE and job.software.element_bytes <= FITTED_BYTES
    return "calibrated" if same and job.parallelism.schedule not in SPLIT else "estimated"
