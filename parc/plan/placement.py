"""Who holds and does what: layers, experts and sequences of one rank, in closed form."""

from __future__ import annotations

from parc.plan.blocks import Plan
from parc.plan.schema.plan import V_SHAPED


def share(total: int, parts: int, index: int) -> range:
    """The `index`-th of `parts` equal, contiguous slices of `total` things."""
    size = total // parts
    return range(index * size, (index + 1) * size)


def layers(plan: Plan, rank: int) -> tuple[range, ...]:
    """The layers of a rank, one range a chunk: chunk c of pipeline rank p is stage c * (ranks) + p.

    In the shape of a V the second chunk is as far from the last stage as the first is from the first.
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


def experts(plan: Plan, rank: int) -> range:
    """The experts of a rank, the same in each of its layers."""
    total = plan.train.model.shape.experts or 0
    if plan.experts is None:
        return range(total)
    return share(total, plan.mesh.product(plan.experts.axes), plan.mesh.index(rank, plan.experts.axes))


def sequences(plan: Plan, rank: int, microbatch: int) -> range:
    """The sequences of the global batch that a rank reads in a microbatch."""
    batch = plan.train.batch
    size = batch.sequences // batch.microbatches
    axes = plan.data.axes if plan.data else ()
    mine = share(size, plan.mesh.product(axes), plan.mesh.index(rank, axes))
    return range(microbatch * size + mine.start, microbatch * size + mine.stop)
