"""Moves of tensors that are left out, or are others."""

from __future__ import annotations

from collections.abc import Iterator

from parc.verify.mutants.mutant import Mutant, silent_bug
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
        if moved.move.move == "all_gather":
            same = subject.alone([moved.move.axis]) or (None if moved.move.grad else NO_GRADIENT)
            yield subject.move(moved, f"gather({', '.join(moved.arguments)})", "gather", same)
    if axes := subject.axes_of("all_gather", grad=True):
        yield subject.patch(
            COLLECTIVES,
            "        return _scattered_sum(gradient, *ctx.where), None, None, None\n",
            "        return _share(gradient, *ctx.where), None, None, None\n",
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
        if moved.move.move == "replicate":
            yield subject.move(moved, moved.arguments[0], "", same)
        elif moved.move.move == "split":
            yield subject.move(moved, f"take({', '.join(moved.arguments)})", "take", same)


@silent_bug("partial sum not summed")
def partial(subject: Subject) -> Iterator[Mutant]:
    """The terms of a sum are taken for the sum: row-parallel products, a balance loss of each rank alone.

    Applies to every all-reduce and reduce-scatter of a tensor.
    """
    for moved in subject.moves:
        same = subject.alone([moved.move.axis])
        if moved.move.move == "all_reduce":
            yield subject.move(moved, moved.arguments[0], "", same)
        elif moved.move.move == "reduce_scatter":
            yield subject.move(moved, f"take({', '.join(moved.arguments)})", "take", same)


@silent_bug("term counted on every rank")
def counted(subject: Subject) -> Iterator[Mutant]:
    """What one rank should add to a sum is added by all: a row-parallel layer's bias, tensor-size times.

    Applies where a tensor that is whole becomes a term of a sum.
    """
    for moved in subject.moves:
        if moved.move.move == "first":
            yield subject.move(moved, moved.arguments[0], "", subject.alone([moved.move.axis]))


@silent_bug("shards in another order")
def order(subject: Subject) -> Iterator[Mutant]:
    """A dim is dealt out to the ranks, or put together, in another order than elsewhere.

    Applies to every move of a shard whose dim has more than one row a rank.
    """
    for moved in subject.moves:
        arguments, same = moved.arguments, subject.alone([moved.move.axis])
        if moved.move.move not in ("all_gather", "gather", "reduce_scatter", "split", "take"):
            continue
        if len(arguments) == 4:
            yield subject.move(moved, f"{moved.move.move}({', '.join(arguments[:3])})", "", same)
        elif (rows := _rows(subject, moved)) > 1:
            yield subject.move(moved, f"{moved.move.move}({', '.join(arguments)}, {rows})", "", same)


@silent_bug("maximum for a sum")
def reduction(subject: Subject) -> Iterator[Mutant]:
    """Another reduction: backends do not compare them, and a sum against a maximum is silent.

    Applies to every place where the runtime sums and something is summed.
    """
    moved = {*subject.axes_of("all_reduce"), *subject.axes_of("replicate", grad=True)}
    scattered = {*subject.axes_of("reduce_scatter"), *subject.axes_of("all_gather", grad=True)}
    pending = {axis for parameter in subject.parameters for axis in parameter.reduce}
    sharded = {axis for parameter in subject.parameters for axis in parameter.axes}
    vocabulary = subject.said(r"vocabulary=self\.(\w+)")
    gradients = "runtime/gradients.py"
    scatter = "dist.reduce_scatter_single(total, terms.flatten(0, 1).contiguous(), group=group)"
    places = (
        (COLLECTIVES, "dist.all_reduce(total, group=group)", moved, "of moves"),
        (COLLECTIVES, scatter, scattered, "of scattered sums"),
        (gradients, "dist.all_reduce(flat, group=group)", pending, "of gradients"),
        (gradients, "dist.all_reduce(partial, group=mesh.get_group(axis))", sharded, "of squares"),
        (gradients, "dist.all_reduce(total, group=pipeline)", subject.pipeline, "of the stages' squares"),
        ("runtime/vocabulary.py", "dist.all_reduce(parts, group=group)", vocabulary, "over the vocabulary"),
    )
    for file, call, axes, site in places:
        if axes:
            text = call.replace(", group=", ", op=dist.ReduceOp.MAX, group=")
            yield subject.patch(file, call, text, site, subject.alone(sorted(axes)))


def _rows(subject: Subject, moved: Moved) -> int:
    """Of the moved dim, those of one rank; 0 where routing decides."""
    rows = moved.move.operand.shape[moved.move.dim]
    if not isinstance(rows, int):
        return 0
    return rows if moved.move.move in ("all_gather", "gather") else rows // subject.size(moved.move.axis)
