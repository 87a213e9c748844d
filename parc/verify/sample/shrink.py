"""Shrinks a plan's mesh, model and batch as far as they keep their kind.

A size keeps its kind if it divides by the axes that split it, as before, or still does not; if a rank has
more than one of it, as before; and if it differs from all other sizes that it does not follow from, so that a
confusion of two dims is noticed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate

from parc.plan.blocks import Batch, Plan, Shape
from parc.plan.mesh import Axis, Mesh

HEAD_DIMS = (6, 8, 10, 12, 16)  # even, as rotary positions need; six heads of four equal few other sizes
FUSED = 8  # elements: rows of 16 bytes in bfloat16, which fused products of experts need
LATENT = {"latent_q": 20, "latent_kv": 12, "latent_plain": 6, "latent_rotary": 4, "latent_value": 14}
"""Sizes of latent attention, in the order of `shape.latent`, each with its least."""

LEAST = {"hidden": 24, "ffn": 16, "dense_ffn": 20, "shared_ffn": 12, "vocab": 40, "length": 6}

Ways = Iterable[tuple[int, int]]  # into how many parts a size was split, and is split now


@dataclass(frozen=True)
class KeptLayers:
    """Layers of each stage, how many are dense, and the layers of the whole model that they stand for."""

    stages: tuple[int, ...]
    dense: int
    kept: tuple[int, ...]


def shrink_mesh(plan: Plan, most: int) -> Mesh:
    """The plan's own mesh up to `most` ranks; else each axis as small as it can be.

    A pipeline keeps a first, a middle and a last stage while that fits, and an odd axis stays odd. No axis is
    removed, even where more than `most` ranks are left.
    """
    if plan.mesh.size <= most:
        return plan.mesh
    with_middle = _shrink_axes(plan, stages=3)
    return with_middle if with_middle.size <= most else _shrink_axes(plan, stages=2)


def widen_data(plan: Plan, small: Mesh, most: int) -> Mesh | None:
    """A smaller mesh with three ranks on an axis of data: a factor that is right for two alone is noticed.

    None where no axis of data was shrunk to two ranks, or three are too many.
    """
    for axis in plan.list_axes("data"):
        if plan.mesh.axis(axis).size > 3 and small.axis(axis).size == 2:
            wide = Mesh(tuple(Axis(name, 3 if name == axis else size) for name, size in small.axes))
            return wide if wide.size <= most else None
    return None


def _shrink_axes(plan: Plan, stages: int) -> Mesh:
    staged = plan.list_axes("pipeline")
    least = {name: stages if name in staged else 2 + size % 2 for name, size in plan.mesh.axes}
    return Mesh(tuple(Axis(name, min(size, least[name])) for name, size in plan.mesh.axes))


def shrink_size(least: int, size: int, ways: Ways, avoid: Collection[int] = ()) -> int:
    """The smallest number from `least` up that is of the kind of `size` and not in `avoid`; else `size`."""
    pairs = [(was, now) for was, now in ways if now > 1]
    for number in range(min(least, size), size):
        if number not in avoid and all((number % now == 0) == (size % was == 0) for was, now in pairs):
            return number
    return size


def shrink_layers(plan: Plan, small: Mesh, most: int) -> KeptLayers:
    """At most `most` layers of a kind a stage, and one more in the longest where the stages are uneven."""
    pipeline, shape = plan.pipeline, plan.train.model.shape
    whole = pipeline.layers if pipeline else (shape.layers or 1,)
    stages = small.product(pipeline.axes) * pipeline.chunks if pipeline else 1
    starts = [0, *accumulate(whole)]
    chosen = [*range(stages - 1), len(whole) - 1]  # the first stages, and the last
    uneven = len(set(whole)) > 1
    counts, kept, dense = list[int](), list[int](), 0
    for stage in chosen:
        count, start = whole[stage], starts[stage]
        dense_here = min(max(0, shape.dense_layers - start), count)
        limit = most + 1 if uneven and count == max(whole) else most
        kept_dense = min(dense_here, 1 if dense_here < count else limit)
        kept_others = min(count - dense_here, limit)
        kept += range(start, start + kept_dense)
        kept += range(start + dense_here, start + dense_here + kept_others)
        counts.append(kept_dense + kept_others)
        dense += kept_dense
    if uneven and len(set(counts)) == 1 and whole[chosen[-1]] > counts[-1]:
        kept.append(kept[-1] + 1)
        counts[-1] += 1
    return KeptLayers(tuple(counts), dense, tuple(kept))


def shrink_batch(plan: Plan, small: Mesh) -> Batch:
    """A batch of the same kind.

    It has as many microbatches as there are stages, and enough for a pipeline to be in its steady state for a
    while. A rank has one sequence of a microbatch where it had one, else two.
    """
    batch, axes = plan.train.batch, plan.list_axes("data")
    stages = small.product(plan.pipeline.axes) if plan.pipeline else 0
    if plan.pipeline and plan.pipeline.schedule == "dualpipev":
        stages *= plan.pipeline.chunks
    microbatches = min(batch.microbatches, max(4, stages) if stages else 2)
    each = batch.sequences // (batch.microbatches * plan.mesh.product(axes))
    sequences = microbatches * small.product(axes) * min(each, 2)
    length = _shrink_length(plan, small)
    return replace(batch, sequences=sequences, length=length, microbatches=microbatches)


def _shrink_length(plan: Plan, small: Mesh) -> int:
    """Positions of a sequence."""
    tensor, data = plan.list_axes("tensor"), plan.list_axes("data")
    experts = tuple(axis for axis in plan.list_axes("experts") if axis not in data)
    both = tuple(dict.fromkeys(tensor + experts))  # tokens may be split over each before they are sent
    ways = [_count_ways(plan, small, axes) for axes in (tensor, experts, both)]
    return shrink_size(LEAST["length"], plan.train.batch.length, ways)


def shrink_sizes(plan: Plan, small: Mesh, groups: int = 1) -> dict[str, int]:
    """The sizes in `shape` that can shrink, by name. Layers are not among them.

    The number of experts divides into `groups` as before, each with two of them where it had several.
    """
    shape = plan.train.model.shape
    found = _shrink_heads(plan, small)
    found |= {name: min(LATENT[name], size) for name, size in list_latent_sizes(shape).items()}
    if shape.experts:
        found |= _shrink_experts(plan, small, shape.experts, shape.top_k, groups)
    used = set(found.values()) | {_shrink_length(plan, small)}
    tensor = _count_ways(plan, small, plan.list_axes("tensor"))
    split = _count_ways(plan, small, plan.experts.tensor if plan.experts else ())
    fused = [(FUSED * was, FUSED * now) for was, now in (tensor, split)]
    whole = {"ffn": [tensor, split, *fused]} | {
        name: [tensor] for name in ("dense_ffn", "shared_ffn", "vocab")
    }
    for name, ways in whole.items():
        if size := getattr(shape, name):
            found[name] = shrink_size(LEAST[name], size, ways, used)
            used.add(found[name])
    return found


def list_latent_sizes(shape: Shape) -> dict[str, int]:
    """The sizes of latent attention, by the names in `LATENT`."""
    return dict(zip(LATENT, shape.latent or (), strict=False))


def _shrink_experts(plan: Plan, small: Mesh, experts: int, top_k: int | None, groups: int) -> dict[str, int]:
    """More than one expert a rank where there was, and more than a token has."""
    was, now = _count_ways(plan, small, plan.list_axes("experts"))
    chosen = min(top_k or 1, 2)
    each = 2 if experts > was else 1
    least = max(each * now, min(experts, chosen + 2), 2 * groups if groups > 1 else 0)
    found = {"experts": shrink_size(least, experts, [(was, now), (groups, groups)])}
    return found | ({"top_k": chosen} if top_k else {})


def _shrink_heads(plan: Plan, small: Mesh) -> dict[str, int]:
    """Heads, their width and the model's: all of them or none, since they follow from each other."""
    shape = plan.train.model.shape
    tensor = _count_ways(plan, small, plan.list_axes("tensor"))
    hidden, heads = shape.hidden, shape.heads
    if not hidden or not heads or not (width := shape.head_dim or hidden // heads):
        return {}
    key_heads = shape.kv_heads or heads
    kept = shrink_size(2, key_heads, [tensor])
    many = kept * min(heads // key_heads, 2) if heads % key_heads == 0 else heads
    for each in HEAD_DIMS:
        total = many * each
        fits = total % FUSED == 0 or hidden % FUSED
        if each < width and LEAST["hidden"] <= total < hidden and fits:
            follows = heads * width == hidden
            own = total if follows else shrink_size(total + FUSED, hidden, [(FUSED, FUSED)])
            found = {"hidden": own, "heads": many, "head_dim": each}
            return found | ({"kv_heads": kept} if shape.kv_heads else {})
    return {}


def _count_ways(plan: Plan, small: Mesh, axes: Iterable[str]) -> tuple[int, int]:
    names = tuple(axes)
    return plan.mesh.product(names), small.product(names)


def format_changes(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    """The values that changed: "hidden 24 (of 1,024), heads 4 (of 16)"."""
    changed = (name for name, value in after.items() if value != before[name])
    return ", ".join(f"{name} {_format(after[name])} (of {_format(before[name])})" for name in changed)


def _format(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
