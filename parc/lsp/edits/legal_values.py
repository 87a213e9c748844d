"""Finds legal values: each candidate is put into the text, which is then checked by all rules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain, count, islice, takewhile
from time import process_time

from parc.diagnostic import Severity
from parc.lsp.document.analysis import Analysis
from parc.lsp.document.edits import Edit
from parc.plan.blocks import Plan

MAX_CHECKS = 24  # of the file, of a few milliseconds each
MAX_SECONDS = 0.25  # of processor time for all of them: in a large file, fewer values are tried
MESH = re.compile(r"\bmesh\s*=\s*\[([^\]\n]*(?:\n[^\]\n=]*)*)")
PAIR = re.compile(r"([^\W\d]\w*)\s*:\s*([0-9]{1,18}(?![0-9]))?")  # longer numbers are no size


def parse_axes(body: str) -> dict[str, int]:
    """The axes in the text of a plan, with their sizes; 1 if the size is not a number."""
    mesh = MESH.search(body)
    return {name: int(size or 1) for name, size in PAIR.findall(mesh[1])} if mesh else {}


def list_divisors(number: int, most: int = MAX_CHECKS) -> list[int]:
    """The smallest divisors."""
    low = list(takewhile(lambda each: each * each <= number, range(1, 100_000)))
    found = sorted(set(chain.from_iterable((each, number // each) for each in low if not number % each)))
    return found[:most]


def count_errors(analysis: Analysis, edits: Iterable[Edit]) -> int:
    """The errors that the file would have after these edits."""
    diagnostics = analysis.load_edited(edits).diagnostics
    return sum(each.severity is Severity.ERROR for each in diagnostics)


def limit_time(candidates: Iterable[int]) -> Iterator[int]:
    """The candidates, until to try them has taken `MAX_SECONDS`."""
    begun = process_time()
    return takewhile(lambda _: process_time() - begun < MAX_SECONDS, candidates)


def order_candidates(
    analysis: Analysis, start: int, end: int, candidates: Iterable[int]
) -> list[tuple[int, bool]]:
    """The candidates to replace what is between two offsets; of each, whether it leaves the fewest errors."""
    tried = limit_time(list(dict.fromkeys(candidates))[:MAX_CHECKS])
    found = {each: count_errors(analysis, [(start, end, str(each))]) for each in tried}
    least = min(found.values(), default=0)
    return sorted(((each, found[each] == least) for each in found), key=lambda pair: (not pair[1], pair[0]))


def find_nearest_legal(analysis: Analysis, start: int, end: int, value: int) -> list[int]:
    """The nearest values below and above `value` that leave fewer errors than `value` does."""
    now = count_errors(analysis, [])
    found = []
    for step in (-1, 1):
        for each in limit_time(islice(_list_neighbours(value, step), MAX_CHECKS)):
            if count_errors(analysis, [(start, end, str(each))]) < now:
                found.append(each)
                break
    return found


def _list_neighbours(value: int, step: int) -> Iterator[int]:
    """All numbers below or above a small value; for a large one, multiples of a power of two."""
    coarse = 1
    while value > 64 * coarse:
        coarse *= 2
    first = (value - 1) // coarse if step < 0 else value // coarse + 1
    return takewhile(lambda each: each >= 1, count(first * coarse, step * coarse))


def list_candidates(plan: Plan | None, key: str, others: int = 1) -> list[int]:
    """Candidates for a key of the plan or of its batch; `others` is the number of ranks on all other axes."""
    if plan is None:
        return [2**power for power in range(8)]
    batch, data = plan.train.batch, plan.mesh.product(plan.data.axes) if plan.data else 1
    match key:
        case "mesh":
            return list_divisors(max(plan.cluster.devices // others, 1))
        case "microbatches":
            return list_divisors(max(batch.sequences // data, 1))
        case "sequences":
            return [batch.microbatches * data * each for each in (1, 2, 4, 8, 16, 32, 64)]
        case "chunks":
            return list_divisors(max(plan.train.model.shape.layers or 1, 1), 8)
        case _:
            return []
