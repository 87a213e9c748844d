"""A second forward pass that does more than arithmetic, or not that of the first one."""

from __future__ import annotations

from collections.abc import Iterator

from parc.ir.forward_sites import iterate_sites
from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import Mutant, MutationTarget

RECOMPUTE = "runtime/recompute.py"
COLLECTIVES = "runtime/collectives.py"
EXPERTS = "runtime/experts.py"
COUNTS = "_exchange_counts"
KEPT = (
    ("all_reduce", COLLECTIVES, "_sum_terms"),
    ("all_gather", COLLECTIVES, "_gather_shares"),
    ("reduce_scatter", COLLECTIVES, "_sum_and_scatter"),
    ("all_to_all", EXPERTS, "_exchange_rows"),
    ("all_to_all", EXPERTS, COUNTS),
)
"""Operations, and the functions of the runtime that issue them."""


@silent_bug("collective issued again by recompute")
def repeat_collectives(target: MutationTarget) -> Iterator[Mutant]:
    """The second pass communicates as well, for nothing: on every rank, or on some alone, which then hang.

    Applies where a layer, or a part of it, is recomputed that communicates.
    """
    issued = {
        (site.move.forward, site.move.axis)
        for stage in target.sample.program.stages
        for site in iterate_sites(stage)
        if site.recomputed and not site.resends and site.move and site.move.forward
    }
    for wire, file, function in KEPT:
        if axes := sorted({axis for each, axis in issued if each == wire}):
            kept, definition = "result" if function == COUNTS else "received", f"def {function}("
            yield target.patch(file, f"@keep_{kept}\n{definition}", definition, f"in `{function}`", over=axes)


@silent_bug("recompute that routes anew")
def route_again(target: MutationTarget) -> Iterator[Mutant]:
    """The second pass chooses experts anew. Where rounding differs, rows meet the results of others.

    Applies where something is recomputed.
    """
    if target.plan.recompute != "none":
        choice = "if func in CHOICES and _find_pass() is self and args[0].is_floating_point():"
        yield target.patch(RECOMPUTE, choice, "if False:", "choices are not kept")


@silent_bug("kept results of another call")
def mix_results(target: MutationTarget) -> Iterator[Mutant]:
    """A second pass gets what the first pass of another layer, or of another microbatch, has kept.

    Applies where something is recomputed.
    """
    if target.plan.recompute != "none":
        own = "    results: deque[tuple[str, Any]] = deque()\n"
        shared = "    results = vars(_THREAD).setdefault('results', deque())\n"
        yield target.patch(RECOMPUTE, own, shared, "one list for all calls")


@silent_bug("tokens counted again by recompute")
def count_again(target: MutationTarget) -> Iterator[Mutant]:
    """The second pass adds to the counts of tokens once more (torchtitan #1593).

    Applies where experts are recomputed.
    """
    if target.banks and target.plan.recompute in ("layer", "experts"):
        first, always = "return current is None or not current.second", "return True"
        yield target.patch(RECOMPUTE, first, always, "every pass counts as the first")
