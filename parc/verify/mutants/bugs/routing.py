"""Tokens that come to the wrong experts, or back to the wrong place."""

from __future__ import annotations

from collections.abc import Iterator

from parc.plan.mesh import split_group_name
from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import Mutant, MutationTarget

EXPERTS = "runtime/experts.py"
GROUPED = "runtime/grouped.py"
PLACEMENT = "runtime/placement.py"
ENDS = "self.counts.cumsum(0, dtype=torch.int32)"
ALIGNED = 16  # bytes


@silent_bug("rows in another order")
def reorder_rows(target: MutationTarget) -> Iterator[Mutant]:
    """Rows are not sorted by expert, or are put back by a permutation instead of its inverse.

    Applies where there are experts; to rows that are sent, where a rank has more than one expert.
    """
    if not target.banks:
        return
    same = "one expert" if all(bank.count == 1 for bank in target.banks) else None
    sort, unsorted = "flat.argsort(stable=True)", "torch.arange(len(flat), device=flat.device)"
    yield target.patch(EXPERTS, sort, unsorted, "not sorted", equivalent=same)
    sent = {(bank.travel, bank.reached) for bank in target.banks if bank.travel}
    if axes := sorted({axis for axis, _ in sent}):
        one = all(count == target.count_ranks(axis) for axis, count in sent)
        same = "a rank has one expert: rows come sorted" if one else None
        back = "rows = torch.empty_like(rows).index_copy(0, there.by_expert, rows)"
        text, site = "rows = rows.index_select(0, there.by_expert)", "put back by the permutation itself"
        yield target.patch(EXPERTS, back, text, site, over=axes, equivalent=same)
        there, text = "    return rows.index_select(0, there.by_expert)\n", "    return rows\n"
        yield target.patch(EXPERTS, there, text, "not sorted after the exchange", over=axes, equivalent=same)
        ctx, text = "ctx.back = received, sent, group", "ctx.back = sent, received, group"
        yield target.patch(EXPERTS, ctx, text, "gradients sent on", over=axes)
    if local := target.find_axes(("dispatch_local",)):
        mine, site = "first = group.rank() * mine", "the first rank's experts on all"
        yield target.patch(EXPERTS, mine, "first = 0", site, over=local)


@silent_bug("experts of a group in another order")
def reorder_experts(target: MutationTarget) -> Iterator[Mutant]:
    """Where experts lie over several axes, a rank holds the experts that are looked for on another one.

    Applies where experts lie over several axes; to rows that are sent to a part of their ranks, where the
    others have the same tokens.
    """
    axes = {axis for bank in target.banks if bank.group for axis in split_group_name(bank.group)}
    if any(len(split_group_name(bank.group)) > 1 for bank in target.banks if bank.group):
        cut, inner = "for number, axis in enumerate(axes):", "for number, axis in [*enumerate(axes)][::-1]:"
        yield target.patch(PLACEMENT, cut, inner, "the inner axis split first", over=sorted(axes))
    if parts := target.find_axes(("dispatch_among",)):
        order, text = "numbers[[*ranks, *others]]", "numbers[[*others, *ranks]]"
        yield target.patch(EXPERTS, order, text, "those of other ranks", over=parts)


@silent_bug("weights of other choices")
def swap_weights(target: MutationTarget) -> Iterator[Mutant]:
    """An expert's result is weighted with another choice's weight, or with none.

    Applies where a token has more than one expert; with one, a normalised weight is 1 anyway.
    """
    if not target.choices:
        return
    same = "one choice a token" if target.choices == {1} else None
    shares = "shares = weights.reshape(route.tokens, route.choices, 1)"
    reversed_ = shares.replace("weights.", "weights.flip(-1).")
    yield target.patch(EXPERTS, shares, reversed_, "in reverse", equivalent=same)
    if same is None:
        yield target.patch(EXPERTS, " * shares).sum(dim=1)", ").sum(dim=1)", "left out")


@silent_bug("fused product off by a row or an expert")
def shift_fused_ends(target: MutationTarget) -> Iterator[Mutant]:
    """The ends of the experts' rows are wrong in the fused product, which float64 never runs.

    Applies where widths are multiples of 16 bytes, so that products are fused.
    """
    if not target.banks:
        return
    loops = None if _fuses(target) else "rows are no multiples of 16 bytes: no product is fused"
    # a bank without an axis is whole on every rank
    one = all(bank.count == (target.count_ranks(bank.group) if bank.group else 1) for bank in target.banks)
    last = "a rank has one expert: its rows end with the last one" if one else None
    unseen = None if target.low else "the program is not run in float32 here"
    starts = "(self.counts.cumsum(0) - self.counts).to(torch.int32)"
    late = "(self.counts.cumsum(0) + 1).clamp(max=int(self.counts.sum())).to(torch.int32)"
    for site, text, same in (("starts for ends", starts, loops), ("a row late", late, loops or last)):
        yield target.patch(GROUPED, ENDS, text, site, equivalent=same, undetectable=unseen)


def _fuses(target: MutationTarget) -> bool:
    """Whether some product of experts is fused in float32: by the widths of a rank, in bytes."""
    for parameter in target.parameters:
        sizes = list(parameter.shape)
        for axis, dim in parameter.sharded.items():
            sizes[dim if isinstance(dim, int) else dim[0]] //= target.count_ranks(axis)
        if parameter.experts and len(sizes) == 3 and all(width * 4 % ALIGNED == 0 for width in sizes[1:]):
            return True
    return False
