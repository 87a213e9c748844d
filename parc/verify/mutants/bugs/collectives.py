"""Collectives that are left out, replaced by others, or among the wrong ranks."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from parc.ir.program import Collective
from parc.ir.states import I, Kind, P, R, S
from parc.plan.mesh import identify_group, split_group_name
from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import Mutant, MutationTarget

COLLECTIVES = "runtime/collectives.py"
GRADIENTS = "runtime/gradients.py"
LAYERS = "runtime/layers.py"
BIASED = """        y = _reduce(F.linear(x, self.weight), self.group, self.dst)
        return y if self.bias is None else y + self.bias
"""
BIASED_TERM = """        return _reduce(F.linear(x, self.weight, self.bias), self.group, self.dst)
"""
NO_GRADIENT = "no gradient flows back through it"


@silent_bug("gather without its backward")
def drop_gather_backward(target: MutationTarget) -> Iterator[Mutant]:
    """Each rank keeps its share of its own gradient of a gathered tensor, and the others' terms are lost
    (Automodel #1260).

    Applies to every all-gather that a gradient flows back through.
    """
    for site in target.collectives:
        planned = site.planned
        if planned.verb == "all_gather" and planned.dst == R:
            text = site.format_call("all_gather", src=planned.src, dst=I)
            yield target.replace_collective(site, text, None if planned.grad else NO_GRADIENT)
    if axes := target.list_axes("all_gather", Kind.SHARDED, Kind.REPLICATE):
        scatters = "        return _sum_and_scatter(gradient, ctx.group, ctx.at), None, None\n"
        selects = scatters.replace("_sum_and_scatter", "_select_share")
        yield target.patch(COLLECTIVES, scatters, selects, "of all all-gathers", over=axes)


@silent_bug("gradient of a copy not summed")
def skip_copy_sum(target: MutationTarget) -> Iterator[Mutant]:
    """Ranks that share an input keep each its own term of the gradient: the conjugate of a sum is missing.

    Applies where a tensor that is whole on every rank is used by each in its own way, or is split.
    """
    for site in target.collectives:
        planned = site.planned
        if planned.verb == "convert" and planned.src == I:
            text = site.operand if planned.dst == R else site.format_call("convert", src=R, dst=planned.dst)
            yield target.replace_collective(site, text, None if planned.grad else NO_GRADIENT)


@silent_bug("partial sum not summed")
def skip_partial_sum(target: MutationTarget) -> Iterator[Mutant]:
    """The terms of a sum are taken for the sum: row-parallel products, a balance loss of each rank alone.

    Applies to every all-reduce and reduce-scatter of a tensor.
    """
    for site in target.collectives:
        if site.planned.verb == "all_reduce":
            yield target.replace_collective(site, site.operand)
        elif site.planned.verb == "reduce_scatter":
            text = site.format_call("convert", src=R, dst=site.planned.dst)
            yield target.replace_collective(site, text)
    share = "term.chunk(group.size(), dst.dim)[group.rank()]"
    for verb, left in (("all_reduce", "term"), ("reduce_scatter", share)):
        if axes := {each.axis for each in target.layer_sums if each.verb == verb}:
            call = f"{verb}(term, group, dst=dst)"
            yield target.patch(LAYERS, call, left, f"of all layers that {verb}", over=sorted(axes))


@silent_bug("term counted on every rank")
def count_term_everywhere(target: MutationTarget) -> Iterator[Mutant]:
    """What one rank should add to a sum is added by all: a row-parallel layer's bias, tensor-size times.

    Applies where a tensor that is whole becomes a term of a sum.
    """
    for site in target.collectives:
        if site.planned.dst == P:
            yield target.replace_collective(site, site.operand)
    biases = {parameter.key for parameter in target.parameters if parameter.key.endswith(".bias")}
    rows = {
        axis
        for parameter in target.parameters
        if f"{parameter.key.removesuffix('.weight')}.bias" in biases
        for axis, cut in parameter.sharded.items()
        if cut == 1 and len(parameter.shape) == 2
    }
    summed = {axis for each in target.layer_sums for axis in split_group_name(each.axis)}
    if axes := sorted(rows & summed):
        yield target.patch(LAYERS, BIASED, BIASED_TERM, "of all row-parallel layers", over=axes)


@silent_bug("shards in another order")
def reorder_shards(target: MutationTarget) -> Iterator[Mutant]:
    """A dim is divided among the ranks, or put together, in another order than elsewhere.

    Applies to every collective of a shard whose dim has more than one row a rank.
    """
    for site in target.collectives:
        planned = site.planned
        sharded = planned.src if planned.src.sharded else planned.dst
        blocks = (
            1 if sharded.blocks > 1 else _count_rows(target, planned, sharded.dim) if sharded.sharded else 0
        )
        if blocks not in (0, sharded.blocks):
            states = (planned.src, planned.dst)
            src, dst = (S(state.dim, blocks) if state.sharded else state for state in states)
            text = site.format_call(planned.verb, src=None if src.partial else src, dst=dst)
            yield target.replace_collective(site, text)
    scattered = {
        each.axis
        for each in target.layer_sums
        if each.verb == "reduce_scatter" and _count_rows(target, each, each.dst.dim) > 1
    }
    if scattered:
        call = "reduce_scatter(term, group, dst=dst)"
        text = call.replace("dst=dst", "dst=State('S', dst.dim, term.shape[dst.dim] // group.size())")
        yield target.patch(LAYERS, call, text, "of all layers that reduce_scatter", over=sorted(scattered))


@silent_bug("maximum for a sum")
def replace_sum_by_maximum(target: MutationTarget) -> Iterator[Mutant]:
    """Another reduction: backends do not compare them, and a maximum instead of a sum is silent.

    Applies to every place where the runtime sums and something is summed.
    """
    scatter = "dist.reduce_scatter_single(total, terms.flatten(0, 1).contiguous(), group=group)"
    slices = "dist.reduce_scatter_single(share, flat, group=group)"
    squares = "dist.all_reduce(partial, group=self.mesh.get_group(axis))"
    shared = {axis for parameter in target.parameters for axis in target.list_slice_axes(parameter)}
    pending = {
        axis
        for parameter in target.parameters
        for axis in parameter.reduce
        if axis not in target.list_slice_axes(parameter)
    }
    sharded = {axis for parameter in target.parameters for axis in parameter.sharded} | shared
    vocabulary = target.find_axes(("cross_entropy",), keyword="vocabulary")
    summed, scattered = target.list_issuing_axes("all_reduce"), target.list_issuing_axes("reduce_scatter")
    stages = "dist.all_reduce(total, group=self.pipeline)"
    places = (
        (COLLECTIVES, "dist.all_reduce(total, group=group)", summed, "of collectives"),
        (COLLECTIVES, scatter, scattered, "of scattered sums"),
        (GRADIENTS, "dist.all_reduce(flat, group=group)", pending, "of gradients"),
        ("runtime/buckets.py", slices, shared, "of shared gradients"),
        (GRADIENTS, squares, sharded, "of squares"),
        (GRADIENTS, stages, target.pipeline, "of the stages' squares"),
        ("runtime/vocabulary.py", "dist.all_reduce(parts, group=group)", vocabulary, "over the vocabulary"),
    )
    for file, call, axes, site in places:
        if axes:
            text = call.replace(", group=", ", op=dist.ReduceOp.MAX, group=")
            yield target.patch(file, call, text, site, over=sorted(axes))


@silent_bug("wrong process group")
def swap_groups(target: MutationTarget) -> Iterator[Mutant]:
    """A module communicates over another axis of the mesh (Megatron-LM #7452). Of one size, nothing crashes.

    Applies to every module that communicates over an axis, where the mesh has another one.
    """
    for file, source in target.files.items():
        for unit, call in source.find_calls(("mesh.get_group",)):
            named = ast.literal_eval(call.args[0])
            (axis,) = (group for group in target.groups if identify_group(group) == named)
            others = target.groups if (file, unit, axis) in target.communication_sites else ()
            for other in others:
                if other != axis:
                    site = f"{file}, {unit}: `{other}` for `{axis}`"
                    text = f"mesh.get_group({identify_group(other)!r})"
                    yield target.edit(file, call, text, site, over=[axis, other])


def _count_rows(target: MutationTarget, planned: Collective, dim: int) -> int:
    """Entries of a sharded dim on one rank; 0 where routing decides."""
    rows = planned.operand.shape[dim]
    if not isinstance(rows, int):
        return 0
    return rows if planned.verb == "all_gather" else rows // target.count_ranks(planned.axis)
