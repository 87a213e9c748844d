"""What is allowed is not told; what allows nothing is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from parc.check.allow import MARK
from parc.check.allow.comments import Allowance, allowances
from parc.check.allow.cover import covered, groups
from parc.diagnostic import Diagnostic, Fix, Label, Severity
from parc.source import Span
from parc.syntax import tree


class Judged(NamedTuple):
    told: list[Diagnostic]
    allowed: list[Diagnostic]


def judge(
    files: Sequence[tree.File],
    found: Iterable[Diagnostic],
    thorough: bool,
    whole: Callable[[Span], Span] = lambda span: span,
) -> Judged:
    """Part what is told of the files, the root first, from what their comments allow.

    `thorough`: all that can be found in the root was looked for, so that a comment there that allows nothing
    is told. `whole` is the place in the text of a file that a span of its tree stands for.
    """
    faults: list[Diagnostic] = []
    told = list(found)
    allowed: list[Diagnostic] = []
    for file in files:
        if MARK not in file.source.text:
            continue
        places = groups(file, whole)
        for allowance in allowances(file.source, faults):
            over = places[0].span if allowance.whole_file else covered(allowance.span, places)
            codes = {code.text for code in allowance.codes}
            matched = [each for each in told + allowed if over and each.code in codes and _within(each, over)]
            allowed += [each for each in matched if each not in allowed]
            told = [each for each in told if each not in matched]
            used = {each.code for each in matched}
            if thorough and file is files[0]:
                faults += _unused(allowance, used)
    return Judged(told + faults, allowed)


def _within(diagnostic: Diagnostic, over: Span) -> bool:
    """Whether a place that the finding marks begins there."""
    return any(
        label.span.source is over.source and over.start <= label.span.start < over.end
        for label in diagnostic.labels
    )


def _unused(allowance: Allowance, used: set[str]) -> Iterator[Diagnostic]:
    seen = set()
    for code in allowance.codes:
        if code.text not in used or code.text in seen:
            fix = Fix("leave it out", (_without(allowance, code),))
            label = Label(code, "nothing of this is found there" if code.text not in used else "said twice")
            message = f"{code.text} is allowed and not found"
            yield Diagnostic("P123", Severity.WARNING, message, (label,), fix=fix)
        seen.add(code.text)


def _without(allowance: Allowance, code: Span) -> tuple[Span, str]:
    """The edit that takes out a code, or the comment where that has no other."""
    source, text = code.source, code.source.text
    if allowance.all > 1:
        comma = re.compile(r"[ \t]*,[ \t]*").match(text, code.end)
        start = code.start if comma else len(re.sub(r"[ \t]*,?[ \t]*$", "", text[: code.start]))
        return Span(source, start, comma.end() if comma else code.end), ""
    line = source.line_starts[allowance.span.line - 1]
    before = text[line : allowance.span.start]
    if before.strip():
        return Span(source, line + len(before.rstrip()), allowance.span.end), ""
    end = text.find("\n", allowance.span.end)
    return Span(source, line, end + 1 if end >= 0 else len(text)), ""
