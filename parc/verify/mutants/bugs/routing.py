"""Tokens that come to the wrong experts, or back in the wrong place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from parc.ir.program import Experts
from parc.verify.mutants.mutant import Mutant
from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import Subject

EXPERTS = "runtime/experts.py"
GROUPED = "runtime/grouped.py"
ALIGNED = 16  # bytes


@silent_bug("rows in another order")
def order(subject: Subject) -> Iterator[Mutant]:
    """Rows are not sorted by expert, or are put back by a permutation instead of its inverse.

    Applies where there are experts; to rows that travel, where a rank has more than one expert.
    """
    banks = _banks(subject)
    if not banks:
        return
    alone = "one expert" if all(bank.count == 1 for bank in banks) else None
    yield subject.patch(
        EXPERTS,
        "flat.argsort(stable=True)",
        "torch.arange(len(flat), device=flat.device)",
        "not sorted",
        alone,
    )
    if axes := {bank.axis for bank in banks if bank.travel and bank.axis}:
        one = all(bank.count == subject.size(bank.axis) for bank in banks if bank.travel and bank.axis)
        same = subject.alone(axes) or ("a rank has one expert: rows come sorted" if one else None)
        back = "rows = torch.empty_like(rows).index_copy(0, there.by_expert, rows)"
        inverse = "rows = rows.index_select(0, there.by_expert)"
        yield subject.patch(EXPERTS, back, inverse, "put back by the permutation itself", same)
        there = "    return rows.index_select(0, by_expert), "
        yield subject.patch(EXPERTS, there, "    return rows, ", "not sorted after the exchange", same)
        turned = subject.alone(axes)
        ctx = "ctx.back = received, sent, group"
        yield subject.patch(EXPERTS, ctx, "ctx.back = sent, received, group", "gradients sent on", turned)
    if axes := set(subject.said(r"dispatch_local\([^)]*self\.(\w+)\)")):
        mine = "first = group.rank() * mine"
        yield subject.patch(
            EXPERTS, mine, "first = 0", "the first rank's experts on all", subject.alone(axes)
        )


@silent_bug("weights of other choices")
def weights(subject: Subject) -> Iterator[Mutant]:
    """An expert's result is weighted with another choice's weight, or with none.

    Applies where a token has more than one expert; with one, a normalised weight is 1 anyway.
    """
    if not subject.choices:
        return
    same = "one choice a token" if subject.choices == {1} else None
    shares = "shares = weights.reshape(route.tokens, route.choices, 1)"
    yield subject.patch(EXPERTS, shares, shares.replace("weights.", "weights.flip(-1)."), "in reverse", same)
    if same is None:
        yield subject.patch(EXPERTS, " * shares).sum(dim=1)", ").sum(dim=1)", "left out")


@silent_bug("fused product off by a row or an expert")
def fused(subject: Subject) -> Iterator[Mutant]:
    """The ends of the experts' rows are wrong in the fused product, which float64 never runs.

    Applies where widths are multiples of 16 bytes, so that products are fused.
    """
    if not _banks(subject):
        return
    ends = "self.counts.cumsum(0, dtype=torch.int32)"
    untold = None if subject.low else "the program is not run in float32 here"
    same = None if _fuses(subject) else "rows are no multiples of 16 bytes: no product is fused"
    # a bank without an axis is whole on every rank
    one = all(bank.count == (subject.size(bank.axis) if bank.axis else 1) for bank in _banks(subject))
    last = same or ("a rank has one expert: its rows end with the last one" if one else None)
    for site, text, reason in (
        ("starts for ends", "(self.counts.cumsum(0) - self.counts).to(torch.int32)", same),
        ("a row late", "(self.counts.cumsum(0) + 1).clamp(max=int(self.counts.sum())).to(torch.int32)", last),
    ):
        yield replace(
            subject.patch(GROUPED, ends, text, site, reason), undetectable=None if reason else untold
        )


def _banks(subject: Subject) -> list[Experts]:
    return [unit.experts for file in subject.stages for unit in subject.units(file) if unit.experts]


def _fuses(subject: Subject) -> bool:
    """Whether some product of experts is, in float32: by a rank's widths, in bytes."""
    for parameter in subject.parameters:
        if parameter.experts and len(parameter.shape) == 3:
            sizes = list(parameter.shape)
            for axis, dim in parameter.sharded.items():
                sizes[dim if isinstance(dim, int) else dim[0]] //= subject.size(axis)
            if all(width * 4 % ALIGNED == 0 for width in sizes[1:]):
                return True
    return False
