"""Other ways to lay out the same training run: one change each, priced when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice, permutations
from typing import NamedTuple

from parc.check.costs import Costs, Unknown
from parc.check.edits import Edit, option, setting
from parc.plan.blocks import Plan
from parc.plan.mesh import Axis, Mesh
from parc.plan.placement import spread_layers
from parc.source import Span

MOST_ORDERS = 24  # of the axes: all of four
MOST_COUNTS = 4  # of microbatches
MOST_MOVES = 6  # of a layer to another stage
MEAN = "the balance loss is a mean over microbatches, so it changes a little with their number"
WORK = 40_000  # passes through a pipeline that may be played for the alternatives of one kind


class Alternative(NamedTuple):
    text: str  # as it stands in a plan: `recompute = layer`
    costs: Costs
    edits: tuple[Edit, ...] = ()  # empty: there is no place where it could be written


def orders(plan: Plan) -> Iterator[Alternative]:
    """The axes of the mesh in other orders, those of `tensor` as far inside as they can be first."""
    movable = [axis for axis in plan.mesh.axes if axis.size > 1]
    idle = tuple(axis for axis in plan.mesh.axes if axis.size == 1)
    tensor = plan.tensor.axes if plan.tensor else ()

    def outside(order: tuple[Axis, ...]) -> int:
        return sum(len(movable) - at for at, axis in enumerate(order) if axis.name in tensor)

    for order in sorted(islice(permutations(movable), MOST_ORDERS), key=outside):
        if list(order) != movable:
            mesh = Mesh((*idle, *order))
            yield Alternative(f"mesh = {written(mesh)}", Costs(replace(plan, mesh=mesh)), _swaps(plan, mesh))


def recomputing(plan: Plan) -> Iterator[Alternative]:
    """Less kept between the passes, the cheapest first."""
    kinds = ("none", "attention", "experts", "layer")
    for kind in kinds[kinds.index(plan.recompute) + 1 :]:
        if kind != "experts" or plan.train.model.shape.experts:
            edits = (setting(plan, "recompute", kind),)
            yield Alternative(f"recompute = {kind}", Costs(replace(plan, recompute=kind)), edits)  # type: ignore[arg-type]  # one of its choices


def sharding(plan: Plan) -> Iterator[Alternative]:
    """More of the state shared out over the data ranks."""
    if plan.data is None or plan.mesh.product(plan.data.axes) == 1:
        return
    kinds = ("none", "optimizer", "parameters")
    for kind in kinds[kinds.index(plan.data.shard) + 1 :]:
        data = replace(plan.data, shard=kind)  # type: ignore[arg-type]  # one of its choices
        edits = (option(plan.data, "shard", kind),)
        yield Alternative(f"shard = {kind}", Costs(replace(plan, data=data)), edits)


def sequence(plan: Plan) -> Iterator[Alternative]:
    """Tokens shared out between the matmuls that `tensor` splits."""
    tensor, length = plan.tensor, plan.train.batch.length
    if tensor is None or tensor.sequence or length % plan.mesh.product(tensor.axes):
        return
    edits = (option(tensor, "sequence", "true"),)
    yield Alternative("sequence = true", Costs(replace(plan, tensor=replace(tensor, sequence=True))), edits)


def more_microbatches(plan: Plan) -> Iterator[Alternative]:
    batch = plan.train.batch
    data = plan.mesh.product(plan.data.axes) if plan.data else 1
    ranks = plan.mesh.product(plan.pipeline.axes) if plan.pipeline else 1
    each, over = divmod(batch.sequences, data)
    if over:
        return
    limit = min(each, 64 * batch.microbatches)
    counts = (
        count
        for count in range(2 * batch.microbatches, limit + 1, batch.microbatches)
        if each % count == 0 and count >= ranks
    )
    for count in islice(counts, MOST_COUNTS):
        train = replace(plan.train, batch=replace(batch, microbatches=count))
        edits = (setting(batch, "microbatches", str(count)),)
        yield Alternative(f"microbatches = {count}", Costs(replace(plan, train=train)), edits)


def caveat(plan: Plan, before: Plan) -> str:
    """What to say of another number of microbatches besides, where it is not the layout alone: or nothing."""
    same = plan.train.batch.microbatches == before.train.batch.microbatches
    return "" if same or not balanced(plan) else f"; {MEAN}"


def balanced(plan: Plan) -> bool:
    return bool(plan.train.loss.balance and plan.train.model.shape.experts)


def more_chunks(plan: Plan) -> Iterator[Alternative]:
    """Interleaved: each rank of the pipeline has several stages."""
    pipeline, layers = plan.pipeline, plan.train.model.shape.layers
    if pipeline is None or layers is None or pipeline.schedule not in ("1f1b", "interleaved"):
        return
    ranks = plan.mesh.product(pipeline.axes)
    for chunks in range(pipeline.chunks + 1, 2 * pipeline.chunks + 3):
        if layers % (ranks * chunks) == 0:
            split = spread_layers(layers, ranks * chunks)
            other = replace(pipeline, schedule="interleaved", chunks=chunks, layers=split)
            yield Alternative(
                f'schedule = "interleaved", chunks = {chunks}', Costs(replace(plan, pipeline=other))
            )


def less_in_flight(plan: Plan) -> Iterator[Alternative]:
    """Backward passes that begin before all forward passes are done."""
    pipeline, m = plan.pipeline, plan.train.batch.microbatches
    if pipeline and pipeline.schedule == "gpipe" and m >= plan.mesh.product(pipeline.axes):
        other = replace(pipeline, schedule="1f1b")
        edits = (option(pipeline, "schedule", '"1f1b"'),)
        yield Alternative('schedule = "1f1b"', Costs(replace(plan, pipeline=other)), edits)


def lighter_stages(plan: Plan) -> Iterator[Alternative]:
    """Layers of the fullest stage given to the emptiest, one after the other, while that helps."""
    pipeline, known = plan.pipeline, Costs(plan)
    if pipeline is None or pipeline.chunks > 1:
        return
    for _ in range(MOST_MOVES):
        peaks = [stage.value for stage in known.memory]
        split = list(known.job.parallelism.layers)
        fullest, emptiest = peaks.index(max(peaks)), peaks.index(min(peaks))
        if fullest == emptiest or split[fullest] == 1:
            return
        split[fullest], split[emptiest] = split[fullest] - 1, split[emptiest] + 1
        known = Costs(replace(plan, pipeline=replace(pipeline, layers=tuple(split))))
        if max(stage.value for stage in known.memory) >= max(peaks):
            return
        yield Alternative(f"layers = {split}", known, (option(pipeline, "layers", str(split)),))


def fewer(make: Callable[[Plan], Iterator[Alternative]], plan: Plan) -> Iterator[Alternative]:
    """As many of them as can be priced in a moment, and as can be priced at all."""
    pipeline, m = plan.pipeline, plan.train.batch.microbatches
    passes = 2 * m * max(1, len(pipeline.layers)) if pipeline else 1
    try:
        yield from islice(make(plan), max(1, WORK // passes))
    except Unknown:
        return


def priced(alternative: Alternative) -> float | None:
    """Seconds of a step; None where they are not known."""
    try:
        return alternative.costs.step.seconds
    except Unknown:
        return None


def written(mesh: Mesh) -> str:
    return f"[{', '.join(f'{axis.name}: {axis.size}' for axis in mesh.axes)}]"


def _swaps(plan: Plan, mesh: Mesh) -> tuple[Edit, ...]:
    """Each entry of the list in the place of the one that stood there: comments and layout stay."""
    places: list[Span] = []
    texts: dict[str, str] = {}
    for axis in plan.mesh.axes:
        span = plan.spans.get(f"mesh.{axis.name}")
        if span is None:
            return ()
        places.append(span)
        texts[axis.name] = span.text
    written: tuple[Axis, ...] = mesh.axes
    swaps = zip(places, (texts[axis.name] for axis in written), strict=True)
    return tuple((place, text) for place, text in swaps if place.text != text)
