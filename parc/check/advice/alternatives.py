"""Other layouts of the same training run: one change each, priced when the price is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import islice, permutations
from typing import TypeAlias

from parc.check.costs import Costs, Unknown
from parc.check.detection import price
from parc.check.edits import Edit, replace_text, set_key
from parc.diagnostic import Fix
from parc.plan.blocks import Plan
from parc.plan.mesh import Axis, Mesh
from parc.plan.placement import list_shard_axes, spread_layers
from parc.record import replace

MOST_ORDERS = 24  # of the axes: all of four
MOST_COUNTS = 4  # of microbatches
MOST_MOVES = 6  # of a layer to another stage
MEAN = "the balance loss is a mean over microbatches, so it changes a little with their number"
WORK = 40_000  # passes through a pipeline that may be simulated for the alternatives of one kind


class Alternative:
    """`text` is the change as a plan file has it; without `edits` there is no place to write it."""

    def __init__(
        self, text: str, plan: Plan, edits: tuple[Edit, ...] = (), costs: Costs | None = None
    ) -> None:
        self.text = text
        self.plan = plan
        self.edits = edits
        self._costs = costs

    @cached_property
    def costs(self) -> Costs:
        return self._costs or price(self.plan)

    @cached_property
    def seconds(self) -> float | None:
        """Of a step; None where it cannot be predicted."""
        try:
            return self.costs.step.seconds
        except Unknown:
            return None

    def make_fix(self, title: str | None = None) -> Fix | None:
        return Fix(title or f"write `{self.text}`", self.edits, safe=False) if self.edits else None


Generator: TypeAlias = Callable[[Plan], Iterator[Alternative]]


def reorder_axes(plan: Plan) -> Iterator[Alternative]:
    """The axes of the mesh in other orders, first those with the axes of `tensor` far inside."""
    movable = [axis for axis in plan.mesh.axes if axis.size > 1]
    idle = tuple(axis for axis in plan.mesh.axes if axis.size == 1)
    tensor = plan.list_axes("tensor")

    def count_outside(order: tuple[Axis, ...]) -> int:
        return sum(len(movable) - at for at, axis in enumerate(order) if axis.name in tensor)

    for order in sorted(islice(permutations(movable), MOST_ORDERS), key=count_outside):
        if list(order) != movable:
            mesh = Mesh((*idle, *order))
            yield Alternative(f"mesh = {format_mesh(mesh)}", replace(plan, mesh=mesh), _swap_axes(plan, mesh))


def recompute_more(plan: Plan) -> Iterator[Alternative]:
    """Less kept between the passes, the cheapest first."""
    kinds = ("none", "attention", "experts", "layer")
    for kind in kinds[kinds.index(plan.recompute) + 1 :]:
        if kind != "experts" or plan.train.model.shape.experts:
            other = replace(plan, recompute=kind)  # type: ignore[arg-type]  # one of its choices
            yield Alternative(f"recompute = {kind}", other, (set_key(plan, "recompute", kind),))


def shard_more(plan: Plan) -> Iterator[Alternative]:
    """More of the state sharded over the data ranks."""
    if plan.data is None or plan.mesh.product(plan.data.axes) == 1:
        return
    if plan.data.shard != "none" and set(list_shard_axes(plan)) != set(plan.data.axes):
        data, axes = replace(plan.data, shard_over=plan.data.axes), f"[{', '.join(plan.data.axes)}]"
        edit = set_key(plan.data, "shard_over", axes)
        yield Alternative(f"shard_over = {axes}", replace(plan, data=data), (edit,))
    kinds = ("none", "optimizer", "gradients", "parameters")
    for kind in kinds[kinds.index(plan.data.shard) + 1 :]:
        data = replace(plan.data, shard=kind)  # type: ignore[arg-type]  # one of its choices
        yield Alternative(f"shard = {kind}", replace(plan, data=data), (set_key(plan.data, "shard", kind),))


def split_sequences(plan: Plan) -> Iterator[Alternative]:
    """Tokens split over the tensor ranks where the weights are not."""
    tensor, length = plan.tensor, plan.train.batch.length
    if tensor is None or tensor.sequence or length % plan.mesh.product(tensor.axes):
        return
    other = replace(plan, tensor=replace(tensor, sequence=True))
    yield Alternative("sequence = true", other, (set_key(tensor, "sequence", "true"),))


def raise_microbatches(plan: Plan) -> Iterator[Alternative]:
    batch = plan.train.batch
    data = plan.mesh.product(plan.list_axes("data"))
    ranks = plan.mesh.product(plan.list_axes("pipeline"))
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
        other = replace(plan, train=replace(plan.train, batch=replace(batch, microbatches=count)))
        edits = (set_key(batch, "microbatches", str(count)),)
        yield Alternative(f"microbatches = {count}", other, edits)


def describe_caveat(other: Plan, plan: Plan) -> str:
    """What changes in the loss with the number of microbatches; empty where it does not change."""
    same = other.train.batch.microbatches == plan.train.batch.microbatches
    return "" if same or not depends_on_microbatches(other) else f"; {MEAN}"


def depends_on_microbatches(plan: Plan) -> bool:
    """Whether the loss depends on the number of microbatches."""
    return bool(plan.train.loss.balance and plan.train.model.shape.experts)


def interleave_more(plan: Plan) -> Iterator[Alternative]:
    """More stages on each rank of the pipeline."""
    pipeline, layers = plan.pipeline, plan.train.model.shape.layers
    if pipeline is None or layers is None or pipeline.schedule not in ("1f1b", "interleaved"):
        return
    ranks = plan.mesh.product(pipeline.axes)
    for chunks in range(pipeline.chunks + 1, 2 * pipeline.chunks + 3):
        if layers % (ranks * chunks) == 0:
            split = spread_layers(layers, ranks * chunks)
            other = replace(pipeline, schedule="interleaved", chunks=chunks, layers=split)
            text = f"schedule = interleaved, chunks = {chunks}"
            yield Alternative(text, replace(plan, pipeline=other))


def start_backward_early(plan: Plan) -> Iterator[Alternative]:
    """Backward passes that begin before all forward passes are done: fewer microbatches in flight."""
    pipeline, m = plan.pipeline, plan.train.batch.microbatches
    if pipeline and pipeline.schedule == "gpipe" and m >= plan.mesh.product(pipeline.axes):
        other = replace(plan, pipeline=replace(pipeline, schedule="1f1b"))
        yield Alternative("schedule = 1f1b", other, (set_key(pipeline, "schedule", "1f1b"),))


def even_out_memory(plan: Plan) -> Iterator[Alternative]:
    """Layers moved one by one from the fullest stage to the emptiest, as long as that helps."""
    pipeline, costs = plan.pipeline, price(plan)
    if pipeline is None or pipeline.chunks > 1:
        return
    for _ in range(MOST_MOVES):
        peaks = [stage.value for stage in costs.memory]
        split = list(costs.job.parallelism.layers)
        fullest, emptiest = peaks.index(max(peaks)), peaks.index(min(peaks))
        if fullest == emptiest or split[fullest] == 1:
            return
        split[fullest], split[emptiest] = split[fullest] - 1, split[emptiest] + 1
        other = set_layers(plan, split)
        if max(stage.value for stage in other.costs.memory) >= max(peaks):
            return
        yield other
        costs = other.costs


def set_layers(plan: Plan, layers: list[int]) -> Alternative:
    """Other numbers of layers in the stages of the pipeline, which the plan has."""
    assert plan.pipeline
    other = replace(plan, pipeline=replace(plan.pipeline, layers=tuple(layers)))
    return Alternative(f"layers = {layers}", other, (set_key(plan.pipeline, "layers", str(layers)),))


def generate(generator: Generator, plan: Plan) -> Iterator[Alternative]:
    """The first alternatives, as many as can be priced in a moment; none that the cost model cannot price."""
    pipeline, m = plan.pipeline, plan.train.batch.microbatches
    passes = 2 * m * max(1, len(pipeline.layers)) if pipeline else 1
    try:
        yield from islice(generator(plan), max(1, WORK // passes))
    except Unknown:
        return


def format_mesh(mesh: Mesh) -> str:
    return f"[{', '.join(f'{axis.name}: {axis.size}' for axis in mesh.axes)}]"


def _swap_axes(plan: Plan, mesh: Mesh) -> tuple[Edit, ...]:
    """Each entry of the list in the place of the one that stood there: comments and layout stay."""
    spans = [plan.spans.get(f"mesh.{axis.name}") for axis in plan.mesh.axes]
    places = [span for span in spans if span]
    if len(places) < len(spans):
        return ()
    texts = {axis.name: place.text for axis, place in zip(plan.mesh.axes, places, strict=True)}
    entries: tuple[Axis, ...] = mesh.axes
    swaps = zip(places, (texts[axis.name] for axis in entries), strict=True)
    return tuple(replace_text(place, text) for place, text in swaps if place.text != text)
