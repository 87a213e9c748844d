"""Applying fixes to texts: pure functions, for the command line and for editors."""

from __future__ import annotations

import re
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from math import inf
from os.path import realpath
from time import process_time
from typing import NamedTuple, TypeAlias

from parc.diagnostic import Diagnostic, Fix, Severity
from parc.source import Span

ROUNDS = 64  # of fixing and checking again; far more than any fault takes to be uncovered by others
TRIES = 256  # texts that are checked in all: what remains then may be fixed by another call
RULES = 2  # the last of the stages
BLOCK = re.compile(r"^[ \t]*(?:plan[ \t]+(?P<plan>\w+)|(?:cluster|machine|model|train)\b)", re.MULTILINE)
Texts: TypeAlias = Mapping[str, str]  # by the real paths of their files
Check: TypeAlias = Callable[[Texts], Iterable[Diagnostic]]
Edit: TypeAlias = tuple[int, int, str]  # from, up to, what comes there instead


class Fixed(NamedTuple):
    texts: Texts
    fixes: tuple[Fix, ...]  # those that were applied, in their order
    diagnostics: tuple[Diagnostic, ...]  # of the texts as they are now


def fix_texts(texts: Texts, check: Check, unsafe: bool = False, seconds: float = inf) -> Fixed:
    """Apply the fixes that `check` offers, check again, and so on until none is left that may be applied.

    Only safe ones, unless `unsafe`. A fix that would change another file is left out, and so is one after
    which there are more errors, or a plan has an error that it did not have. After so many seconds of
    processor time, no further fix is tried.
    """
    return _Fixer(check, unsafe, seconds).fix(texts)


class _Fixer:
    def __init__(self, check: Check, unsafe: bool, seconds: float) -> None:
        self.end = process_time() + seconds
        self.check = check
        self.unsafe = unsafe
        self.tries = TRIES
        self.seen: set[tuple[str, ...]] = set()

    def fix(self, texts: Texts) -> Fixed:
        now = Fixed(texts, (), self.diagnose(texts))
        for _ in range(ROUNDS):
            self.seen.add(tuple(now.texts.values()))
            for stage, fixes in select_fixes(now.diagnostics, self.unsafe).items():
                after = self.apply_round(now._replace(fixes=()), stage, fixes)
                if after.fixes:
                    now = after._replace(fixes=now.fixes + after.fixes)
                    break
            else:
                break
        return now

    def diagnose(self, texts: Texts) -> tuple[Diagnostic, ...]:
        self.tries = self.tries - 1 if process_time() < self.end else 0
        return tuple(self.check(texts))

    def apply_round(self, before: Fixed, stage: int, fixes: Sequence[Fix]) -> Fixed:
        """All fixes at once; where that breaks something, one half and then the other, down to single fixes.

        Two correct fixes may be wrong together, though their edits do not touch.
        """
        now, halves = before, [list(fixes)]
        while halves and self.tries > 0:
            some = halves.pop(0)
            texts, applied = apply_fixes(before.texts, [*now.fixes, *some])
            if len(applied) == len(now.fixes):
                continue
            found = self.diagnose(texts)
            if tuple(texts.values()) not in self.seen and _breaks_nothing(stage, now.diagnostics, found):
                now = Fixed(texts, tuple(applied), found)
            elif len(some) > 1:
                halves[:0] = [some[: len(some) // 2], some[len(some) // 2 :]]
        return now


def _breaks_nothing(stage: int, before: Iterable[Diagnostic], after: Iterable[Diagnostic]) -> bool:
    """Errors of a later stage do not count: a fault of an earlier one may have hidden them."""
    had, has = _count_errors(before, stage), _count_errors(after, stage)
    return has.total() <= had.total() and (stage < RULES or has <= had)


def _count_errors(diagnostics: Iterable[Diagnostic], stage: int) -> Counter[tuple[str, frozenset[str]]]:
    """How many there are, up to this stage, of each code, in each set of plans."""
    return Counter(
        (each.code, frozenset(filter(None, (_find_plan(label.span) for label in each.labels))))
        for each in diagnostics
        if each.severity is Severity.ERROR and _find_stage(each) <= stage
    )


def _find_stage(diagnostic: Diagnostic) -> int:
    """Syntax, names, or what rules find: each is known for sure once the one before is faultless."""
    return min(int(diagnostic.code[1]), RULES)


def _find_plan(span: Span) -> str | None:
    """The plan that a place is in, as far as lines show it: blocks begin with their kind and name."""
    starts, names = _find_blocks(span.source.text)
    return names[bisect(starts, span.start) - 1] if starts and starts[0] <= span.start else None


@lru_cache(maxsize=8)
def _find_blocks(text: str) -> tuple[list[int], list[str | None]]:
    """Where blocks begin, and the name of those that are plans."""
    found = list(BLOCK.finditer(text))
    return [each.start() for each in found], [each["plan"] for each in found]


def select_fixes(diagnostics: Iterable[Diagnostic], unsafe: bool) -> dict[int, list[Fix]]:
    """The fixes to be applied now, by their stage: while there are any of the syntax, only those.

    What recovery assumed a faulty text to mean may differ from what it means once it is fixed.
    """
    able: dict[int, list[Fix]] = {}
    for each in diagnostics:
        if each.fix and (each.fix.safe or unsafe):
            able.setdefault(_find_stage(each), []).append(each.fix)
    return {0: able[0]} if 0 in able else dict(sorted(able.items()))


def apply_fixes(texts: Texts, fixes: Iterable[Fix]) -> tuple[Texts, list[Fix]]:
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
    return {path: _apply_edits(text, edits[path]) for path, text in texts.items()}, applied


def _touches(edit: Edit, others: Iterable[Edit]) -> bool:
    """Whether an edit and another have a character, or an end, in common."""
    return any(edit[0] <= end and start <= edit[1] for start, end, _ in others)


def _apply_edits(text: str, edits: Iterable[Edit]) -> str:
    for start, end, instead in sorted(edits, reverse=True):
        text = text[:start] + instead + text[end:]
    return text
