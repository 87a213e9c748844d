"""Collectives that are left out, or are others."""

from __future__ import annotations

from collections.abc import Iterator

from parc.ir.states import I, Kind, P, R, S
from parc.verify.mutants.mutant import Mutant
from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import Moved, Subject

COLLECTIVES = "runtime/collectives.py"
NO_GRADIENT = "no gradient flows back through it"


@silent_bug("gather without its backward")
def gathered(subject: Subject) -> Iterator[Mutant]:
    """Each rank keeps its share of its own gradient of a gathered tensor, and the others' terms are lost
    (Automodel #1260).

    Applies to every all-gather that a gradient flows back through.
    """
    for moved in subject.moves:
        if moved.move.verb == "all_gather" and moved.move.dst == R:
            same = subject.alone([moved.move.axis]) or (None if moved.move.grad else NO_GRADIENT)
            yield subject.move(moved, moved.call("all_gather", src=moved.move.src, dst=I), same)
    if axes := subject.axes_of("all_gather", Kind.SHARDED, Kind.REPLICATE):
        yield subject.patch(
            COLLECTIVES,
            "        return _sum_and_scatter(gradient, ctx.group, ctx.at), None, None\n",
            "        return _select_share(gradient, ctx.group, ctx.at), None, None\n",
            "of all all-gathers",
            subject.alone(axes),
        )


@silent_bug("gradient of a copy not summed")
def copied(subject: Subject) -> Iterator[Mutant]:
    """Ranks that share an input keep each its own term of the gradient: the conjugate of a sum is missing.

    Applies where a tensor that is whole on every rank is used by each in its own way, or is split.
    """
    for moved in subject.moves:
        same = subject.alone([moved.move.axis]) or (None if moved.move.grad else NO_GRADIENT)
        if moved.move.verb == "convert" and (moved.move.src, moved.move.dst) == (I, R):
            yield subject.move(moved, moved.operand, same)
        elif moved.move.verb == "convert" and moved.move.src == I:
            yield subject.move(moved, moved.call("convert", src=R, dst=moved.move.dst), same)


@silent_bug("partial sum not summed")
def partial(subject: Subject) -> Iterator[Mutant]:
    """The terms of a sum are taken for the sum: row-parallel products, a balance loss of each rank alone.

    Applies to every all-reduce and reduce-scatter of a tensor.
    """
    for moved in subject.moves:
        same = subject.alone([moved.move.axis])
        if moved.move.verb == "all_reduce":
            yield subject.move(moved, moved.operand, same)
        elif moved.move.verb == "reduce_scatter":
            yield subject.move(moved, moved.call("convert", src=R, dst=moved.move.dst), same)


@silent_bug("term counted on every rank")
def counted(subject: Subject) -> Iterator[Mutant]:
    """What one rank should add to a sum is added by all: a row-parallel layer's bias, tensor-size times.

    Applies where a tensor that is whole becomes a term of a sum.
    """
    for moved in subject.moves:
        if moved.move.dst == P:
            yield subject.move(moved, moved.operand, subject.alone([moved.move.axis]))


@silent_bug("shards in another order")
def order(subject: Subject) -> Iterator[Mutant]:
    """A dim is dealt out to the ranks, or put together, in another order than elsewhere.

    Applies to every move of a shard whose dim has more than one row a rank.
    """
    for moved in subject.moves:
        move, same = moved.move, subject.alone([moved.move.axis])
        sharded = move.src if move.src.sharded else move.dst
        if not sharded.sharded:
            continue
        blocks = 1 if sharded.blocks > 1 else _rows(subject, moved, sharded.dim)
        if blocks != sharded.blocks and blocks > 0:
            src, dst = (S(state.dim, blocks) if state.sharded else state for state in (move.src, move.dst))
            yield subject.move(moved, moved.call(move.verb, src=None if src.partial else src, dst=dst), same)


@silent_bug("maximum for a sum")
def reduction(subject: Subject) -> Iterator[Mutant]:
    """Another reduction: backends do not compare them, and a sum against a maximum is silent.

    Applies to every place where the runtime sums and something is summed.
    """
    summed, scattered = subject.axes_that_issue("all_reduce"), subject.axes_that_issue("reduce_scatter")
    pending = {axis for parameter in subject.parameters for axis in parameter.reduce}
    sharded = {axis for parameter in subject.parameters for axis in parameter.sharded}
    vocabulary = subject.said(r"vocabulary=self\.(\w+)")
    gradients = "runtime/gradients.py"
    scatter = "dist.reduce_scatter_single(total, terms.flatten(0, 1).contiguous(), group=group)"
    places = (
        (COLLECTIVES, "dist.all_reduce(total, group=group)", summed, "of collectives"),
        (COLLECTIVES, scatter, scattered, "of scattered sums"),
        (gradients, "dist.all_reduce(flat, group=group)", pending, "of gradients"),
        (gradients, "dist.all_reduce(partial, group=self.mesh.get_group(axis))", sharded, "of squares"),
        (
            gradients,
            "dist.all_reduce(total, group=self.pipeline)",
            subject.pipeline,
            "of the stages' squares",
        ),
        ("runtime/vocabulary.py", "dist.all_reduce(parts, group=group)", vocabulary, "over the vocabulary"),
    )
    for file, call, axes, site in places:
        if axes:
            text = call.replace(", group=", ", op=dist.ReduceOp.MAX, group=")
            yield subject.patch(file, call, text, site, subject.alone(sorted(axes)))


def _rows(subject: Subject, moved: Moved, dim: int) -> int:
    """Entries of a sharded dim on one rank; 0 where routing decides."""
    rows = moved.move.operand.shape[dim]
    if not isinstance(rows, int):
        return 0
    return rows if moved.move.verb == "all_gather" else rows // subject.size(moved.move.axis)
