"""Applying fixes to texts: pure functions, for the command line and for editors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from os.path import realpath
from typing import NamedTuple, TypeAlias

from parc.diagnostic import Diagnostic, Fix

ROUNDS = 64  # of fixing and checking again; far more than any fault takes to be uncovered by others
Texts: TypeAlias = Mapping[str, str]  # by the real paths of their files
Edit: TypeAlias = tuple[int, int, str]  # from, up to, what comes there instead


class Mended(NamedTuple):
    texts: Texts
    fixes: tuple[Fix, ...]  # those that were applied, in their order
    left: tuple[Diagnostic, ...]  # what there is to say about the texts as they are now


def mend(texts: Texts, check: Callable[[Texts], Iterable[Diagnostic]], unsafe: bool = False) -> Mended:
    """Apply the fixes that `check` offers, check again, and so on until none is left.

    The safe ones alone, unless `unsafe`. A fix that would change another file is left out.
    """
    done: list[Fix] = []
    seen = {tuple(texts.values())}
    left = tuple(check(texts))
    for _ in range(ROUNDS):
        fixes = offered(left, unsafe)
        for some in (fixes, fixes[:1]):  # two that mend may spoil one another, though they do not touch
            after, applied = mended_once(texts, some)
            then = tuple(check(after)) if applied else left
            if applied and tuple(after.values()) not in seen and _faults(then) <= _faults(left):
                break
        else:
            break
        seen.add(tuple(after.values()))
        texts, left = after, then
        done += applied
    return Mended(texts, tuple(done), left)


def _faults(diagnostics: Iterable[Diagnostic]) -> int:
    """How many faults of the syntax: no fix may make more of them."""
    return sum(each.code.startswith("P0") for each in diagnostics)


def offered(diagnostics: Iterable[Diagnostic], unsafe: bool) -> list[Fix]:
    """The fixes to be applied now: while there are any of the syntax, those alone.

    What recovery took a faulty text to say may be something else than what it says once it is mended.
    """
    able = [each for each in diagnostics if each.fix and (each.fix.safe or unsafe)]
    syntax = [each for each in able if each.code.startswith("P0")]
    return [each.fix for each in syntax or able if each.fix]


def mended_once(texts: Texts, fixes: Iterable[Fix]) -> tuple[Texts, list[Fix]]:
    """Apply those fixes that were made for these very texts; of some that touch one another the first."""
    edits: dict[str, list[Edit]] = {path: [] for path in texts}
    applied = []
    for fix in fixes:
        wanted = [(realpath(span.source.path), (span.start, span.end, text)) for span, text in fix.edits]
        known = all(texts.get(realpath(span.source.path)) == span.source.text for span, _ in fix.edits)
        if known and not any(_touches(edit, edits[path]) for path, edit in wanted):
            applied.append(fix)
            for path, edit in wanted:
                edits[path].append(edit)
    return {path: _edited(text, edits[path]) for path, text in texts.items()}, applied


def _touches(edit: Edit, others: Iterable[Edit]) -> bool:
    """Whether an edit and another have a character, or an end, in common."""
    return any(edit[0] <= end and start <= edit[1] for start, end, _ in others)


def _edited(text: str, edits: Iterable[Edit]) -> str:
    for start, end, instead in sorted(edits, reverse=True):
        text = text[:start] + instead + text[end:]
    return text
