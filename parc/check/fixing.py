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

    The safe ones alone, unless `unsafe`. A fix that would change another file than those of `texts` is left out.
    """
    done: list[Fix] = []
    seen = {tuple(texts.values())}
    left = tuple(check(texts))
    for _ in range(ROUNDS):
        after, applied = mended_once(texts, offered(left, unsafe))
        if not applied or tuple(after.values()) in seen:
            break
        seen.add(tuple(after.values()))
        texts = after
        done += applied
        left = tuple(check(texts))
    return Mended(texts, tuple(done), left)


def offered(diagnostics: Iterable[Diagnostic], unsafe: bool) -> list[Fix]:
    """The fixes to be applied now: while there are any of the syntax, those alone.

    What recovery took a faulty text to say may be something else than what it says once it is mended.
    """
    able = [each for each in diagnostics if each.fix and (each.fix.safe or unsafe)]
    syntax = [each for each in able if each.code.startswith("P0")]
    return [each.fix for each in syntax or able if each.fix]


def mended_once(texts: Texts, fixes: Iterable[Fix]) -> tuple[Texts, list[Fix]]:
    """Apply fixes that were made for these very texts; of those that touch one another the first alone."""
    edits: dict[str, list[Edit]] = {path: [] for path in texts}
    applied = []
    for fix in fixes:
        wanted = [(realpath(span.source.path), (span.start, span.end, text)) for span, text in fix.edits]
        if all(path in texts and not _touches(edit, edits[path]) for path, edit in wanted):
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
