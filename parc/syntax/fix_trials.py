"""Tries the fixes of syntax faults, and keeps those that reduce the number of faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from parc.diagnostic import Diagnostic, Fix
from parc.record import replace
from parc.source import Source
from parc.syntax.parts import split_text
from parc.syntax.scan import MAX_FAULTS

MAX_SPLIT = 1_000_000  # characters that are split into parts
MAX_PARSED = 30_000  # characters that are parsed, to try all fixes of a text: one or two tenths of a second


def keep_effective_fixes(
    source: Source, faults: Sequence[Diagnostic], counts: Sequence[int], count: Callable[[str], int]
) -> Iterator[Diagnostic]:
    """The faults of a text, without fixes that do not reduce their number or that exceed the limits.

    `counts` has the numbers of faults of the parts of the text; `count` computes that of another part.
    """
    known: dict[str, int] = {}
    left = MAX_PARSED
    able = MAX_SPLIT // max(len(source.text), 1) if len(faults) <= MAX_FAULTS else 0
    if able and any(fault.fix for fault in faults):
        places = split_text(source.text)
        known = {source.text[start:end]: each for (start, end), each in zip(places, counts, strict=True)}
    for fault in faults:
        if fault.fix:
            text = _apply_fix(source.text, fault.fix)
            parts = [text[start:end] for start, end in split_text(text)] if able > 0 else []
            fresh = [part for part in parts if part not in known]
            able -= 1
            left -= sum(map(len, fresh))
            if not parts or left < 0:
                fault = replace(fault, fix=None)
            else:
                known |= {part: count(part) for part in fresh}
                if sum(known[part] for part in parts) >= len(faults):
                    fault = replace(fault, fix=None)
        yield fault


def _apply_fix(text: str, fix: Fix) -> str:
    for span, instead in sorted(fix.edits, key=lambda edit: edit[0].start, reverse=True):
        text = text[: span.start] + instead + text[span.end :]
    return text
