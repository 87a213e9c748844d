"""What a comment allows is not reported; a comment that allows nothing is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from parc.check.allow import MARK
from parc.check.allow.comments import Allowance, parse_allowances
from parc.check.allow.cover import find_covered, list_groups
from parc.diagnostic import Diagnostic, Fix, Label, Severity
from parc.source import Span
from parc.syntax import tree


def apply_allowances(
    files: Sequence[tree.File],
    found: Iterable[Diagnostic],
    thorough: bool,
    locate: Callable[[Span], Span],
) -> tuple[list[Diagnostic], list[Diagnostic]]:
    """The diagnostics of the files, the root first, that are reported, and those that their comments allow.

    `thorough`: all that can be found in the root was looked for, so that a comment there that allows nothing
    is reported. `locate` is the place in the text of a file of a span of its tree.
    """
    faults: list[Diagnostic] = []
    reported = list(found)
    allowed: list[Diagnostic] = []
    for file in files:
        if MARK not in file.source.text:
            continue
        groups = list_groups(file, locate)
        for allowance in parse_allowances(file.source, faults):
            over = groups[0].span if allowance.whole_file else find_covered(allowance.span, groups)
            codes = {code.text for code in allowance.codes}
            matched = [
                each for each in reported + allowed if over and each.code in codes and _begins_in(each, over)
            ]
            allowed += [each for each in matched if each not in allowed]
            reported = [each for each in reported if each not in matched]
            used = {each.code for each in matched}
            if thorough and file is files[0]:
                faults += _report_unused(allowance, used)
    return reported + faults, allowed


def _begins_in(diagnostic: Diagnostic, over: Span) -> bool:
    """Whether a place that the finding marks begins there."""
    return any(
        label.span.source is over.source and over.start <= label.span.start < over.end
        for label in diagnostic.labels
    )


def _report_unused(allowance: Allowance, used: set[str]) -> Iterator[Diagnostic]:
    seen = set()
    for code in allowance.codes:
        if code.text not in used or code.text in seen:
            fix = Fix("leave it out", (_remove_code(allowance, code),))
            label = Label(code, "not reported" if code.text not in used else "repeated")
            message = f"{code.text} is allowed, but is not reported here"
            yield Diagnostic("P123", Severity.WARNING, message, (label,), fix=fix)
        seen.add(code.text)


def _remove_code(allowance: Allowance, code: Span) -> tuple[Span, str]:
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
