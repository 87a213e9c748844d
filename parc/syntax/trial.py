"""A fix of the syntax is offered only where trying it shows that it mends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from parc.diagnostic import Diagnostic, Fix
from parc.source import Source
from parc.syntax.parts import cut
from parc.syntax.scan import MAX_FAULTS

CUT = 1_000_000  # characters that are cut into parts again,
READ = 30_000  # and that are read again, to try the fixes of a text: a tenth of a second or two


def tried(
    source: Source, faults: Sequence[Diagnostic], counts: Sequence[int], count: Callable[[str], int]
) -> Iterator[Diagnostic]:
    """The faults of a text, and of their fixes those that leave fewer: all that can be tried in a moment.

    `counts` are the numbers of faults of the text's parts, `count` that of another text that is a part.
    """
    known: dict[str, int] = {}
    left = READ
    able = CUT // max(len(source.text), 1) if len(faults) <= MAX_FAULTS else 0
    if able and any(fault.fix for fault in faults):
        places = cut(source.text)
        known = {source.text[start:end]: each for (start, end), each in zip(places, counts, strict=True)}
    for fault in faults:
        if fault.fix:
            text = _edited(source.text, fault.fix)
            parts = [text[start:end] for start, end in cut(text)] if able > 0 else []
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


def _edited(text: str, fix: Fix) -> str:
    for span, instead in sorted(fix.edits, key=lambda edit: edit[0].start, reverse=True):
        text = text[: span.start] + instead + text[span.end :]
    return text
