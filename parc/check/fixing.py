"""Applying fixes to texts: pure functions, for the command line and for editors."""

from __future__ import annotations

import re
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from os.path import realpath
from typing import NamedTuple, TypeAlias

from parc.diagnostic import Diagnostic, Fix, Severity
from parc.source import Span

ROUNDS = 64  # of fixing and checking again; far more than any fault takes to be uncovered by others
TRIES = 256  # texts that are checked in all: what is left then may be asked for again
RULES = 2  # the last of the stages
BLOCK = re.compile(r"^[ \t]*(?:plan[ \t]+(?P<plan>\w+)|(?:cluster|machine|model|train)\b)", re.MULTILINE)
Texts: TypeAlias = Mapping[str, str]  # by the real paths of their files
Edit: TypeAlias = tuple[int, int, str]  # from, up to, what comes there instead


class Mended(NamedTuple):
    texts: Texts
    fixes: tuple[Fix, ...]  # those that were applied, in their order
    left: tuple[Diagnostic, ...]  # what there is to say about the texts as they are now


class Counted:
    """The check, and how often it may still be asked."""

    def __init__(self, check: Callable[[Texts], Iterable[Diagnostic]]) -> None:
        self.check = check
        self.left = TRIES

    def __call__(self, texts: Texts) -> tuple[Diagnostic, ...]:
        self.left -= 1
        return tuple(self.check(texts))


def mend(texts: Texts, check: Callable[[Texts], Iterable[Diagnostic]], unsafe: bool = False) -> Mended:
    """Apply the fixes that `check` offers, check again, and so on until none is left that may be applied.

    The safe ones alone, unless `unsafe`. A fix that would change another file is left out, and so is one that
    breaks what was whole: after it there are no more errors than before, and no plan has one that it had not.
    """
    done: list[Fix] = []
    seen = {tuple(texts.values())}
    look = Counted(check)
    left = look(texts)
    for _ in range(ROUNDS):
        for stage, fixes in offered(left, unsafe).items():
            after = _round(Mended(texts, (), left), stage, fixes, look, seen)
            if after.fixes:
                break
        else:
            break
        texts, left = after.texts, after.left
        seen.add(tuple(texts.values()))
        done += after.fixes
    return Mended(texts, tuple(done), left)


def _round(
    before: Mended, stage: int, fixes: Sequence[Fix], look: Counted, seen: Collection[tuple[str, ...]]
) -> Mended:
    """All fixes at once; where that breaks something, one half and then the other, down to a fix alone.

    Two that mend may spoil one another, though they do not touch.
    """
    now = before
    halves = [list(fixes)]
    while halves and look.left > 0:
        some = halves.pop(0)
        after, applied = mended_once(before.texts, [*now.fixes, *some])
        if len(applied) == len(now.fixes):
            continue
        then = look(after)
        if tuple(after.values()) not in seen and _breaks_nothing(stage, now.left, then):
            now = Mended(after, tuple(applied), then)
        elif len(some) > 1:
            halves[:0] = [some[: len(some) // 2], some[len(some) // 2 :]]
    return now


def _breaks_nothing(stage: int, before: Iterable[Diagnostic], after: Iterable[Diagnostic]) -> bool:
    """Errors of a later stage do not count: a fault of an earlier one may have hidden them."""
    had, has = _errors(before, stage), _errors(after, stage)
    return has.total() <= had.total() and (stage < RULES or has <= had)


def _errors(diagnostics: Iterable[Diagnostic], stage: int) -> Counter[tuple[str, frozenset[str]]]:
    """How many there are, up to this stage, of each code, in each set of plans."""
    return Counter(
        (each.code, frozenset(filter(None, (_plan(label.span) for label in each.labels))))
        for each in diagnostics
        if each.severity is Severity.ERROR and _stage(each) <= stage
    )


def _stage(diagnostic: Diagnostic) -> int:
    """Syntax, names, or what rules find: each is known for sure once the one before is faultless."""
    return min(int(diagnostic.code[1]), RULES)


def _plan(span: Span) -> str | None:
    """The plan that a place is in, as far as lines show it: blocks begin with their kind and name."""
    starts, names = _blocks(span.source.text)
    return names[bisect(starts, span.start) - 1] if starts and starts[0] <= span.start else None


@lru_cache(maxsize=8)
def _blocks(text: str) -> tuple[list[int], list[str | None]]:
    """Where blocks begin, and the name of those that are plans."""
    found = list(BLOCK.finditer(text))
    return [each.start() for each in found], [each["plan"] for each in found]


def offered(diagnostics: Iterable[Diagnostic], unsafe: bool) -> dict[int, list[Fix]]:
    """The fixes to be applied now, by their stage: while there are any of the syntax, those alone.

    What recovery took a faulty text to say may be something else than what it says once it is mended.
    """
    able: dict[int, list[Fix]] = {}
    for each in diagnostics:
        if each.fix and (each.fix.safe or unsafe):
            able.setdefault(_stage(each), []).append(each.fix)
    return {0: able[0]} if 0 in able else dict(sorted(able.items()))


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
