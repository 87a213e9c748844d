"""The figures of a job, each with its arithmetic and its grade."""

from __future__ import annotations

from parc.cost.figure import Figure, Grade, microbatches, quantity, total
from parc.cost.job.job import Job
from parc.cost.memory import parameters
from parc.cost.memory.peak import heads, memory, state
from parc.cost.network.traffic import remainder, traffic
from parc.cost.timing.constants import Calibration, nearest
from parc.cost.timing.step import predict
from parc.plan.schema.plan import SPLIT

SAME = 0.1
"""How far a device's peak may be from a calibrated one's to count as the same."""
FITTED = 2
"""Bytes of an element in the runs that constants are fitted to."""


def state_figures(job: Job, rank: int) -> tuple[Figure, ...]:
    """Bytes of parameters, gradients and optimizer on one rank of the pipeline, whatever its schedule."""
    of, does, shard = state(job, rank), job.practice, job.layout.shard
    held = [parameters.held(job, stage) for stage in job.stages_of(rank)]
    shared, own = sum(each.shared for each in held), sum(each.experts for each in held)

    def how(each: int, split: bool) -> str:
        return _product(job, shared, own, each, split)

    return (
        Figure("parameters", of.parameters, "B", how(does.element, shard == "parameters"), "exact"),
        Figure("gradients", of.gradients, "B", how(does.gradient, shard == "parameters"), "exact"),
        Figure("optimizer", of.optimizer, "B", how(does.state, shard != "none"), "exact"),
    )


def memory_figures(job: Job, rank: int) -> Figure:
    """Bytes of one rank of the pipeline at its fullest, by kind.

    Raises:
        ValueError: the schedule is not simulated, or not with these chunks and microbatches.
    """
    of = memory(job, rank)
    layout = job.layout
    flight = f"{layout.schedule}, {microbatches(layout.microbatches)}, recompute = {layout.recompute}"
    parts = [
        *state_figures(job, rank),
        Figure("activations", of.activations, "B", f"kept between passes: {flight}", "estimated"),
    ]
    if of.logits >= of.working and of.logits:
        count = heads(job, rank)
        what = (
            f"logits of {count:,} microbatches, the gradient of one"
            if count > 1
            else "logits and their gradient"
        )
        words = f"{what}, {job.tokens:,.0f} tokens x {job.architecture.vocab:,} words"
        parts.append(Figure("logits", of.logits, "B", f"{words} / {job.degrees.tensor}", "estimated"))
    elif of.working:
        parts.append(
            Figure("working", of.working, "B", "the largest layer in its backward pass", "estimated")
        )
    return total("peak", parts)


def _product(job: Job, shared: float, own: float, each: int, split: bool) -> str:
    """Parameters times bytes of each; `split`: over those ranks that would hold the same ones."""
    data, copies = job.degrees.data, job.degrees.expert_data
    if not split:
        return f"{shared + own:,.0f} x {each} B"
    if not own or data == copies:
        return f"{shared + own:,.0f} x {each} B / {data} data ranks"
    of_experts = f"{own:,.0f} of experts x {each} B"
    copied = f" / {copies} copies" if copies > 1 else ""
    return f"{shared:,.0f} x {each} B / {data} data ranks + {of_experts}{copied}"


def traffic_figures(job: Job, stage: int) -> tuple[Figure, ...]:
    """Bytes that one rank of a stage gives to the network, of one step."""
    named = [
        Figure(
            f"{each.what}: {each.kind} over {each.over}",
            each.total,
            "B",
            f"{each.calls:,} calls of {each.bytes:,.0f} B",
            "expected" if each.routed else "exact",
        )
        for each in traffic(job, stage)
    ]
    if job.practice.emitted:
        how = "at most: shares and loads of experts, sums of losses and norms"
        named.append(Figure("what is counted and reported", remainder(job, stage), "B", how, "estimated"))
    return tuple(named)


def flops_figure(job: Job) -> Figure:
    """FLOPs of one step on one device, as torch's counter counts them; recomputation is not counted."""
    each = parameters.flops(job) / devices(job)
    tokens = parameters.tokens(job)
    how = f"3 x forward FLOPs of {tokens:,.0f} tokens / {devices(job):,} devices"
    return Figure("arithmetic", each, "FLOP", how, "exact")


def step_figure(job: Job) -> Figure:
    """Seconds of one step.

    Raises:
        ValueError: the machine is not known, or the schedule not simulated.
    """
    known = nearest(job.hardware)
    grade = time_grade(job, known)
    found = predict(job, known.constants)
    each = found.forward[0].seconds
    how = f"{job.layout.schedule}, {microbatches(job.layout.microbatches)} of {each:.3g} s forward"
    where = f"constants of {known.kind}, {known.error:.1%} off on {known.rows} runs"
    if job.practice.element > FITTED:
        where += f"; {_bits(job)}"
    return total(
        "step",
        (
            Figure("pipeline", found.pipeline, "s", f"{how} on stage 0; {where}", grade),
            Figure("gradients", found.gradients, "s", "their sums, as far as they are seen", grade),
            Figure("optimizer", found.optimizer, "s", "reads and writes of its state", grade),
            Figure("rest", known.constants.step, "s", f"of every step; {where}", grade),
        ),
    )


def _bits(job: Job) -> str:
    bits, peak = 8 * job.practice.element, quantity(job.hardware.compute, "FLOP/s")
    if job.hardware.sixteen:
        return f"they are those of {8 * FITTED} bits, the peak of {peak} that of {bits}"
    return f"they, and the peak of {peak}, are those of {8 * FITTED} bits: {bits} take longer"


def mfu_figure(job: Job) -> Figure:
    """The share of the devices' peak that the step's arithmetic is.

    Raises:
        ValueError: as `step_figure`.
    """
    flops, step = flops_figure(job), step_figure(job)
    share = flops.value / step.value / job.hardware.compute
    how = f"{flops.value:.4g} FLOP / {step.value:.4g} s / {job.hardware.compute:.4g} FLOP/s"
    return Figure("mfu", share, "", how, step.grade, (flops, step))


def devices(job: Job) -> int:
    by = job.degrees
    return max(by.data * by.tensor, by.experts * by.expert_tensor * by.expert_data) * by.pipeline


def time_grade(job: Job, known: Calibration) -> Grade:
    """Of every time: calibrated on a machine like that of the constants, in bits that they were fitted in.

    None of the fitted runs split its backward passes.
    """
    same = abs(job.hardware.rated / known.compute - 1) <= SAME and job.practice.element <= FITTED
    return "calibrated" if same and job.layout.schedule not in SPLIT else "estimated"
