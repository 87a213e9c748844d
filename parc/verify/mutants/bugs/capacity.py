"""Experts with a capacity that drop other pairs of tokens and experts than one device would."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fractions import Fraction

from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import Mutant, MutationTarget

CAPACITY = "runtime/capacity.py"


@silent_bug("capacity drops of the wrong tokens")
def drop_wrong_pairs(target: MutationTarget) -> Iterator[Mutant]:
    """Other pairs are dropped: the first ones of an expert, or those of other ranks or sequences.

    Applies where experts have a capacity; to the order of ranks and sequences, where these have shares.
    """
    limited = [bank for bank in target.banks if bank.capacity is not None]
    if not limited:
        return
    last, first = "< kept.flatten()[keys]", ">= (chosen - kept).flatten()[keys]"
    yield target.patch(CAPACITY, last, first, "the last pairs kept")
    axes = sorted({group for bank in limited for group, _ in bank.shards})
    whole = None if axes else "tokens lie whole on every rank"
    own, other = "[:, group.rank()]", "[:, group.size() - 1 - group.rank()]"
    yield target.patch(CAPACITY, own, other, "ranks in reverse order", over=axes, equivalent=whole)
    for file, source in target.files.items():
        for unit, call in source.find_calls(("keep_within_capacity",)):
            for node in (node for each in call.keywords for node in ast.walk(each.value)):
                if isinstance(node, ast.Constant) and node.value != 1:
                    site = f"{file}, {unit}: the tokens of a rank in one block"
                    yield target.edit(file, node, "1", site, axes)


@silent_bug("capacity of each rank alone")
def count_own_pairs(target: MutationTarget) -> Iterator[Mutant]:
    """An expert takes as many rows from each rank as from all, or its share of one rank's pairs from all.

    Megatron-Core and DeepSpeed define a capacity so. Applies where experts have one and ranks have tokens of
    their own.
    """
    axes = sorted({group for bank in target.banks for group, _ in bank.shards})
    if axes:
        ranks = "indices.numel() * ranks / experts"
        yield target.patch(CAPACITY, ranks, "indices.numel() / experts", "share of one rank's", over=axes)
        earlier = "earlier = _count_earlier(chosen, shards)"
        yield target.patch(
            CAPACITY, earlier, "earlier = 0 * _count_earlier(chosen, shards)", "of each rank", over=axes
        )
        inside = "inside.sum(dim=1), outer"
        if any(len(bank.shards) > 1 for bank in target.banks):
            alone = "0 * inside.sum(dim=1), outer"
            yield target.patch(CAPACITY, inside, alone, "of the innermost group alone", over=axes)


@silent_bug("capacity off by rounding")
def round_capacity(target: MutationTarget) -> Iterator[Mutant]:
    """An expert takes a row more than its capacity, or the capacity is rounded down.

    Applies where experts have a capacity; to the rounding, where it is no whole number.
    """
    limited = [bank for bank in target.banks if bank.capacity is not None]
    if not limited:
        return
    most, more = "(most - earlier)", "(most + 1 - earlier)"
    yield target.patch(CAPACITY, most, more, "a row more")
    batch = target.plan.train.batch
    tokens = batch.sequences // batch.microbatches * batch.length
    rows = {
        Fraction(str(bank.capacity)) * tokens * choices / bank.count
        for bank in limited
        for choices in target.choices
    }
    exact = all(each.denominator == 1 for each in rows)
    same = "the capacity is a whole number" if exact else None
    yield target.patch(CAPACITY, "math.ceil(", "math.floor(", "rounded down", undetectable=same)
