"""Values that would do: each candidate is put in the text and judged by all the rules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain, count, islice, takewhile

from parc.diagnostic import Severity
from parc.lsp.document.analysis import Analysis, Edit
from parc.plan.blocks import Plan

MOST_TRIED = 24  # readings of the file, of a few milliseconds each
MESH = re.compile(r"\bmesh\s*=\s*\[([^\]\n]*(?:\n[^\]\n=]*)*)")
PAIR = re.compile(
    r"([^\W\d]\w*)\s*:\s*([0-9]{1,18}(?![0-9]))?"
)  # longer ones are no size: Python refuses to read them


def axes(body: str) -> dict[str, int]:
    """The axes that a plan's text has, with their sizes, 1 where that is not a number."""
    mesh = MESH.search(body)
    return {name: int(size or 1) for name, size in PAIR.findall(mesh[1])} if mesh else {}


def divisors(number: int, most: int = MOST_TRIED) -> list[int]:
    """The smallest ones."""
    low = list(takewhile(lambda each: each * each <= number, range(1, 100_000)))
    found = sorted(set(chain.from_iterable((each, number // each) for each in low if not number % each)))
    return found[:most]


def errors(analysis: Analysis, edits: Iterable[Edit]) -> int:
    told = analysis.tried(edits).diagnostics
    return sum(each.severity is Severity.ERROR for each in told)


def legal_first(
    analysis: Analysis, start: int, end: int, candidates: Iterable[int]
) -> list[tuple[int, bool]]:
    """The candidates for what stands between two offsets, and whether each leaves the fewest errors."""
    tried = list(dict.fromkeys(candidates))[:MOST_TRIED]
    found = {each: errors(analysis, [(start, end, str(each))]) for each in tried}
    least = min(found.values(), default=0)
    return sorted(((each, found[each] == least) for each in tried), key=lambda pair: (not pair[1], pair[0]))


def nearest_legal(analysis: Analysis, start: int, end: int, value: int) -> list[int]:
    """The nearest values below and above `value` with which there are fewer errors than now."""
    now = errors(analysis, [])
    found = []
    for step in (-1, 1):
        for each in islice(_neighbours(value, step), MOST_TRIED):
            if errors(analysis, [(start, end, str(each))]) < now:
                found.append(each)
                break
    return found


def _neighbours(value: int, step: int) -> Iterator[int]:
    """Every number below or above a small value; of a large one the multiples of a power of two."""
    coarse = 1
    while value > 64 * coarse:
        coarse *= 2
    first = (value - 1) // coarse if step < 0 else value // coarse + 1
    return takewhile(lambda each: each >= 1, count(first * coarse, step * coarse))


def candidates(plan: Plan | None, key: str, others: int = 1) -> list[int]:
    """What may be tried for a key of the plan or of its batch; `others` are ranks along the other axes."""
    if plan is None:
        return [2**power for power in range(8)]
    batch, data = plan.train.batch, plan.mesh.product(plan.data.axes) if plan.data else 1
    match key:
        case "mesh":
            return divisors(max(plan.cluster.devices // others, 1))
        case "microbatches":
            return divisors(max(batch.sequences // data, 1))
        case "sequences":
            return [batch.microbatches * data * each for each in (1, 2, 4, 8, 16, 32, 64)]
        case "chunks":
            return divisors(max(plan.train.model.shape.layers or 1, 1), 8)
        case _:
            return []
