"""The comments that allow findings, and what is wrong with them.

`# parc: allow P202, P226 -- reason` allows findings of the row beside it, `# parc: allow-file ..` those of
the whole file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from parc.check.registry import Rule
from parc.diagnostic import Diagnostic, Label, error
from parc.plan.suggest import fix_spelling, suggest_spelling
from parc.source import Source, Span

MOST = 100  # of them in a file
COMMENT = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"?|(?P<comment>#[^\n]*)')
ADDRESSED = re.compile(r"#+\s*parc:\s*(?P<verb>[^\s]*)")
CODE = re.compile(r"[^\s,]+")
REASON = re.compile(r"(^|\s)--(?P<reason>.*)")
VERBS = ("allow", "allow-file")
UNKNOWN_AXIS = "P301"  # reported while the file is read
FORM = "`# parc: allow P202 -- reason`, or `# parc: allow-file P202 -- reason`"


class Allowance(NamedTuple):
    """One such comment. Faulty codes are not among its `codes`."""

    span: Span
    codes: tuple[Span, ...]
    all: int  # codes, the faulty ones too
    whole_file: bool


def parse_allowances(source: Source, faults: list[Diagnostic]) -> list[Allowance]:
    """Those of a text."""
    spans = list(islice(_find_addressed(source), MOST + 1))
    if len(spans) > MOST:
        label = Label(spans[MOST], "one too many")
        faults.append(error("P005", f"a file allows findings in at most {MOST} comments", label))
    found = [_parse_allowance(span, faults) for span in spans[:MOST]]
    return [each for each in found if each]


def _find_addressed(source: Source) -> Iterator[Span]:
    for found in COMMENT.finditer(source.text):
        if found["comment"] and ADDRESSED.match(found["comment"]):
            yield source.make_span(found.start(), found.start() + len(found[0].rstrip()))


def _parse_allowance(span: Span, faults: list[Diagnostic]) -> Allowance | None:
    head = ADDRESSED.match(span.text)
    assert head
    verb = head["verb"]
    if verb not in VERBS:
        place = Span(span.source, span.start + head.start("verb"), span.start + head.end())
        fix, message = fix_spelling(place, verb, VERBS), f"unknown directive `parc: {verb}`"
        faults.append(error("P119", message, Label(place, "unknown"), help=FORM, fix=fix))
        return None
    reason = REASON.search(span.text, head.end())
    if not (reason and reason["reason"].strip()):
        label = Label(span, "write the reason after `--`")
        faults.append(error("P120", "this allows findings without a reason", label, help=FORM))
        return None
    places = [
        Span(span.source, span.start + code.start(), span.start + code.end())
        for code in CODE.finditer(span.text, head.end(), reason.start())
    ]
    if not places:
        faults.append(error("P119", "this comment names no code", Label(span, "of which rule?"), help=FORM))
        return None
    good = tuple(place for place in places if _may_be_allowed(place, faults))
    return Allowance(span, good, len(places), verb == "allow-file")


def _may_be_allowed(place: Span, faults: list[Diagnostic]) -> bool:
    from parc.check.pages import list_rules  # noqa: PLC0415 - start-up time: few files allow anything

    rules = {rule.code: rule for rule in list_rules()}
    code = place.text
    if code not in rules:
        help, fix = suggest_spelling(code, rules), fix_spelling(place, code, rules)
        fix = fix and fix._replace(safe=False)  # codes are all alike
        faults.append(
            error("P121", f"there is no rule `{code}`", Label(place, "unknown"), help=help, fix=fix)
        )
        return False
    if why := explain_refusal(rules[code]):
        faults.append(error("P122", f"{code} cannot be allowed", Label(place, why)))
        return False
    return True


def explain_refusal(rule: Rule) -> str | None:
    """Why no comment may allow what the rule finds; None: one may."""
    if rule.always:
        return "a change of what is computed is always reported"
    if rule.code < "P2" or rule.code == UNKNOWN_AXIS:
        return "errors of syntax and of names cannot be allowed: nothing else can be checked before"
    if rule.code < "P4":
        return None
    return "`parc build` reports it, and no comment makes a plan buildable"
