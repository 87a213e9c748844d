"""How small a plan's model, batch and mesh may be and still be of the same kind.

A size keeps its kind if it divides by what splits it, as before, or still does not; if there is more than one
of it on a rank, as before; and if two sizes that are not the same by nature stay unlike each other, so that
no two dims can be mixed up unseen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate, count, takewhile

from parc.plan.blocks import Plan
from parc.plan.mesh import Axis, Mesh

HEAD_DIMS = (6, 8, 10, 12, 16)  # even, as rotary positions need; six heads of four are unlike most counts
FUSED = 8  # elements: rows of 16 bytes in bfloat16, which fused products of experts need
LEAST = {"hidden": 24, "ffn": 16, "dense_ffn": 20, "shared_ffn": 12, "vocab": 40, "length": 6}

Ways = Iterable[tuple[int, int]]  # what split a size, and what splits it now


@dataclass(frozen=True)
class Layers:
    """Layers by stage, those of them that are dense, and which ones of the whole model they stand for."""

    stages: tuple[int, ...]
    dense: int
    kept: tuple[int, ...]


def mesh(plan: Plan, most: int) -> Mesh:
    """The plan's own up to `most` ranks; else each axis as small as it can be.

    A pipeline keeps a first, a middle and a last stage while that fits, an odd axis stays odd; no axis that
    was there goes, even where more than `most` ranks are left.
    """
    if plan.mesh.size <= most:
        return plan.mesh
    roomy = _shrunk(plan, 3)
    return roomy if roomy.size <= most else _shrunk(plan, 2)


def _shrunk(plan: Plan, stages: int) -> Mesh:
    staged = plan.pipeline.axes if plan.pipeline else ()
    least = [stages if name in staged else 2 + size % 2 for name, size in plan.mesh.axes]
    return Mesh(
        tuple(Axis(name, min(size, to)) for (name, size), to in zip(plan.mesh.axes, least, strict=True))
    )


def smallest(least: int, size: int, ways: Ways, avoid: Collection[int] = ()) -> int:
    """The smallest number of `size`'s kind from `least` up that need not be avoided; `size` where none is."""
    pairs = [(was, now) for was, now in ways if now > 1]
    fitting = (
        number
        for number in takewhile(lambda number: number < size, count(min(least, size)))
        if all((number % now == 0) == (size % was == 0) for was, now in pairs)
    )
    return next((number for number in fitting if number not in avoid), size)


def layers(plan: Plan, small: Mesh, most: int) -> Layers:
    """At most `most` layers of a kind a stage, and fewer in some where the stages are uneven."""
    pipeline, shape = plan.pipeline, plan.train.model.shape
    whole = pipeline.layers if pipeline else (shape.layers or 1,)
    stages = small.product(pipeline.axes) * pipeline.chunks if pipeline else 1
    starts = [0, *accumulate(whole)]
    chosen = [*range(stages - 1), len(whole) - 1]  # the first ones, and the last
    uneven = len(set(whole)) > 1
    counts, kept, dense = list[int](), list[int](), 0
    for stage in chosen:
        of, start = whole[stage], starts[stage]
        without = min(max(0, shape.dense_layers - start), of)
        least = most if not uneven or of == max(whole) else most - 1
        if stage == chosen[-1] and sum(counts) - dense == 0:
            least = most  # two layers with experts in all
        mine = min(without, 1 if without < of else least)
        rest = min(of - without, least)
        kept += [*range(start, start + mine), *range(start + without, start + without + rest)]
        counts.append(mine + rest)
        dense += mine
    if uneven and len(set(counts)) == 1 and whole[chosen[-1]] > counts[-1]:
        kept.append(kept[-1] + 1)
        counts[-1] += 1
    return Layers(tuple(counts), dense, tuple(kept))


def microbatches(plan: Plan, small: Mesh) -> int:
    """As many as there are stages, and enough for a pipeline to be in its steady state for a while."""
    stages = small.product(plan.pipeline.axes) if plan.pipeline else 0
    return min(plan.train.batch.microbatches, max(4, stages) if stages else 2)


def sequences(plan: Plan, small: Mesh, parts: int) -> int:
    """Of the whole batch: one a rank and microbatch where it was one, else two."""
    batch, axes = plan.train.batch, plan.data.axes if plan.data else ()
    each = batch.sequences // (batch.microbatches * plan.mesh.product(axes))
    return parts * small.product(axes) * min(each, 2)


def length(plan: Plan, small: Mesh) -> int:
    """Positions of a sequence."""
    data, tensor = (each.axes if each else () for each in (plan.data, plan.tensor))
    experts = tuple(axis for axis in (plan.experts.axes if plan.experts else ()) if axis not in data)
    both = tuple(dict.fromkeys(tensor + experts))  # tokens may be split over each before they are sent
    ways = [_ways(plan, small, axes) for axes in (tensor, experts, both)]
    return smallest(LEAST["length"], plan.train.batch.length, ways)


def sizes(plan: Plan, small: Mesh) -> dict[str, int]:
    """The numbers in `shape` that become others, by name; layers are not among them."""
    shape = plan.train.model.shape
    found = _heads(plan, small)
    if shape.experts:
        found |= _experts(plan, small, shape.experts, shape.top_k)
    taken = set(found.values()) | {length(plan, small)}
    tensor = _ways(plan, small, plan.tensor.axes if plan.tensor else ())
    split = _ways(plan, small, plan.experts.tensor if plan.experts else ())
    whole = {"ffn": [tensor, split, _fused(tensor), _fused(split)], "dense_ffn": [tensor]}
    for name, ways in {**whole, "shared_ffn": [tensor], "vocab": [tensor]}.items():
        size = getattr(shape, name)
        if size:
            found[name] = smallest(LEAST[name], size, ways, taken)
            taken.add(found[name])
    return found


def _experts(plan: Plan, small: Mesh, experts: int, top_k: int | None) -> dict[str, int]:
    """More than one a rank where there was, and more of them than a token has."""
    was, now = _ways(plan, small, plan.experts.axes if plan.experts else ())
    chosen = min(top_k or 1, 2)
    each = 2 if experts > was else 1
    found = {"experts": smallest(max(each * now, min(experts, chosen + 2)), experts, [(was, now)])}
    return found | ({"top_k": chosen} if top_k else {})


def _heads(plan: Plan, small: Mesh) -> dict[str, int]:
    """Heads, their width and the model's: all of them or none, since they follow from each other."""
    shape = plan.train.model.shape
    tensor = _ways(plan, small, plan.tensor.axes if plan.tensor else ())
    hidden, heads = shape.hidden, shape.heads
    if not hidden or not heads or not (width := shape.head_dim or hidden // heads):
        return {}
    shared = shape.kv_heads or heads
    kept = smallest(2, shared, [tensor])
    many = kept * min(heads // shared, 2) if heads % shared == 0 else heads
    for each in HEAD_DIMS:
        total = many * each
        fits = total % FUSED == 0 or hidden % FUSED
        if each < width and LEAST["hidden"] <= total < hidden and fits:
            own = total if heads * width == hidden else smallest(total + FUSED, hidden, [(FUSED, FUSED)])
            found = {"hidden": own, "heads": many}
            found |= {"kv_heads": kept} if shape.kv_heads else {}
            return found | {"head_dim": each}
    return {}


def _ways(plan: Plan, small: Mesh, axes: Iterable[str]) -> tuple[int, int]:
    names = tuple(axes)
    return plan.mesh.product(names), small.product(names)


def _fused(ways: tuple[int, int]) -> tuple[int, int]:
    return FUSED * ways[0], FUSED * ways[1]


def shown(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """What became of sizes: "hidden 24 (of 1024), heads 4 (of 16)"."""
    return ", ".join(
        f"{name} {size:,} (of {before[name]:,})" for name, size in after.items() if size != before[name]
    )
