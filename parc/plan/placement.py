"""The layers, experts and sequences of one rank, in closed form."""

from __future__ import annotations

from parc.plan.blocks import Plan
from parc.plan.schema.plan import V_SHAPED

MAX_STAGES = 2**20


def slice_evenly(total: int, parts: int, index: int) -> range:
    """The `index`-th of `parts` equal, contiguous slices of `range(total)`."""
    size = total // parts
    return range(index * size, (index + 1) * size)


def locate_layers(plan: Plan, rank: int) -> tuple[range, ...]:
    """The layers of a rank, a range for each chunk: chunk c of pipeline rank p is stage c * (ranks) + p.

    In a V-shaped schedule the second chunk of pipeline rank p is the p-th stage from the end.
    """
    if plan.pipeline is None:
        return (range(plan.train.model.shape.layers or 0),)
    ranks = plan.mesh.product(plan.pipeline.axes)
    first = plan.mesh.index(rank, plan.pipeline.axes)
    count = ranks * plan.pipeline.chunks
    v_shaped = plan.pipeline.schedule in V_SHAPED
    stages = (first, count - 1 - first) if v_shaped else range(first, count, ranks)
    starts = [sum(plan.pipeline.layers[:stage]) for stage in stages]
    return tuple(
        range(start, start + plan.pipeline.layers[stage]) for start, stage in zip(starts, stages, strict=True)
    )


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


def spread_layers(layers: int, stages: int) -> tuple[int, ...]:
    """The number of layers of each stage, as even as possible, the longer stages first.

    Empty if there are fewer layers than stages, or more than `MAX_STAGES` stages.
    """
    if stages > min(layers, MAX_STAGES):
        return ()
    least, longer = divmod(layers, stages)
    return (least + 1,) * longer + (least,) * (stages - longer)
