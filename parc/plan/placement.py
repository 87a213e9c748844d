"""The layers, experts and sequences of one rank, in closed form."""

from __future__ import annotations

from parc.plan.blocks import Pipeline, Plan
from parc.plan.schema.plan import V_SHAPED

MAX_STAGES = 2**20


def slice_evenly(total: int, parts: int, index: int) -> range:
    """The `index`-th of `parts` equal, contiguous slices of `range(total)`."""
    size = total // parts
    return range(index * size, (index + 1) * size)


def name_schedule(pipeline: Pipeline) -> str:
    """The schedule that is run: `1f1b` with several chunks on a rank is the interleaved one."""
    return "interleaved" if pipeline.schedule == "1f1b" and pipeline.chunks > 1 else pipeline.schedule


def locate_stages(plan: Plan, rank: int) -> tuple[int, ...]:
    """The stages of a rank, one for each chunk: chunk c of pipeline rank p is stage c * (ranks) + p.

    In a V-shaped schedule the second chunk of pipeline rank p is the p-th stage from the end. Without a
    pipeline there is one stage.
    """
    if plan.pipeline is None:
        return (0,)
    ranks = plan.mesh.product(plan.pipeline.axes)
    first, count = plan.mesh.index(rank, plan.pipeline.axes), ranks * plan.pipeline.chunks
    if plan.pipeline.schedule in V_SHAPED:
        return first, count - 1 - first
    return tuple(range(first, count, ranks))


def locate_layers(plan: Plan, rank: int) -> tuple[range, ...]:
    """The layers of a rank, a range for each of its stages."""
    if plan.pipeline is None:
        return (range(plan.train.model.shape.layers or 0),)
    layers, stages = plan.pipeline.layers, locate_stages(plan, rank)
    starts = [sum(layers[:stage]) for stage in stages]
    return tuple(range(start, start + layers[stage]) for start, stage in zip(starts, stages, strict=True))


def locate_experts(plan: Plan, rank: int) -> range:
    """The experts of a rank; they are the same in all of its layers."""
    total = plan.train.model.shape.experts or 0
    if plan.experts is None:
        return range(total)
    return slice_evenly(total, plan.mesh.product(plan.experts.axes), plan.mesh.index(rank, plan.experts.axes))


def locate_sequences(plan: Plan, rank: int, microbatch: int) -> range:
    """The sequences of the global batch that a rank reads in a microbatch."""
    batch = plan.train.batch
    size = batch.sequences // batch.microbatches
    axes = plan.list_axes("data")
    mine = slice_evenly(size, plan.mesh.product(axes), plan.mesh.index(rank, axes))
    return range(microbatch * size + mine.start, microbatch * size + mine.stop)


def list_travel_axes(plan: Plan) -> tuple[str, ...]:
    """The axes of experts whose ranks have tokens of their own, which travel to their experts.

    Where experts are split over axes of `tensor`, tokens are whole on all ranks of `tensor`.
    """
    data, tensor, experts = plan.list_axes("data"), plan.tensor, plan.experts
    sharded = tensor.axes if tensor and tensor.sequence and not _splits_experts(plan) else ()
    return tuple(axis for axis in experts.axes if axis in (*data, *sharded)) if experts else ()


def list_term_axes(plan: Plan) -> tuple[str, ...]:
    """The axes whose ranks have terms of the experts' results: each those of its own, for the same tokens."""
    used = (*plan.experts.axes, *plan.experts.tensor) if plan.experts else ()
    return tuple(axis for axis in plan.mesh.names if axis in used and axis not in list_travel_axes(plan))


def _splits_experts(plan: Plan) -> bool:
    """Whether axes of `tensor` split each expert."""
    split = plan.experts.tensor if plan.experts else ()
    return any(plan.mesh.axis(axis).size > 1 for axis in split if axis in plan.list_axes("tensor"))


def list_shard_axes(plan: Plan) -> tuple[str, ...]:
    """The axes whose ranks share what `shard` of the plan's `data` names, outermost first."""
    data = plan.data
    axes = (data.shard_over or data.axes) if data and data.shard != "none" else ()
    return tuple(axis for axis in plan.mesh.names if axis in axes)


def reduces_by_module(plan: Plan) -> bool:
    """Whether each backward pass reduces gradients to the slices of ranks, module by module."""
    return plan.data is not None and plan.data.shard in ("gradients", "parameters")


def gathers_by_module(plan: Plan) -> bool:
    """Whether ranks keep slices of parameters, and gather each module for its passes."""
    return plan.data is not None and plan.data.shard == "parameters"


def spread_layers(layers: int, stages: int) -> tuple[int, ...]:
    """The number of layers of each stage, as even as possible, the longer stages first.

    Empty if there are fewer layers than stages, or more than `MAX_STAGES` stages.
    """
    if stages > min(layers, MAX_STAGES):
        return ()
    least, longer = divmod(layers, stages)
    return (least + 1,) * longer + (least,) * (stages - longer)


def count_balance_groups(plan: Plan) -> int:
    """How many groups of a microbatch's sequences have a balance loss: one, or one for each data rank."""
    approximate = plan.train.approximate
    if approximate is None or approximate.balance != "rank" or not plan.train.loss.balance:
        return 1
    return plan.mesh.product(plan.list_axes("data"))
