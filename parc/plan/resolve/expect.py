"""`expect { .. }`: what a plan claims of itself."""

from __future__ import annotations

import re
from collections.abc import Sequence

from parc.plan import blocks as facts
from parc.plan import subjects
from parc.plan.resolve.reader import Reader
from parc.plan.resolve.scope import Quantity, Value, Word
from parc.plan.suggest import did_you_mean, respelling
from parc.source import Span
from parc.syntax import tree, units

DIGITS = re.compile(r"[0-9_]+(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
ALL = "`parc rule P306` lists what can be claimed; a `let` constant can be, too"


def claims(block: Reader, levels: Sequence[str]) -> tuple[facts.Claim, ...]:
    """`levels` are the names of the cluster's."""
    written, found = block.claims, []
    block.claims = []
    block.finish()
    for claim in written:
        known = subjects.subject(claim.path.text, levels)
        if known:
            resolved = _of_the_plan(block, claim, known)
        elif claim.path.text in block.scope.lets:
            resolved = _of_a_constant(block, claim)
        else:
            resolved = None
            _unknown(block, claim, levels)
        if resolved:
            found.append(resolved)
    return tuple(found)


def _of_the_plan(block: Reader, claim: tree.Claim, known: subjects.Subject) -> facts.Claim | None:
    """A share of the device's memory is a plain number."""
    value = block.scope.value(claim.value)
    allowed = {known.dimension}
    if claim.path.text.startswith("memory."):
        allowed.add(units.NUMBER)
    if isinstance(value, Quantity) and value.dimension in allowed:
        return _claim(claim, value)
    _of_another_kind(block, claim, value, known.dimension)
    return None


def _of_a_constant(block: Reader, claim: tree.Claim) -> facts.Claim | None:
    constant, value = block.scope.value(claim.path), block.scope.value(claim.value)
    let = block.scope.lets[claim.path.text]
    if constant is None:
        return None
    if not isinstance(constant, Quantity):
        block.fault(
            "P106", claim.path.span, f"`{claim.path.text}` is no number", "only numbers can be compared"
        )
        return None
    if isinstance(value, Quantity) and value.dimension == constant.dimension:
        return _claim(claim, value, constant, let.value.span)
    _of_another_kind(block, claim, value, constant.dimension)
    return None


def _claim(
    claim: tree.Claim, value: Quantity, constant: Quantity | None = None, let: Span | None = None
) -> facts.Claim:
    return facts.Claim(
        subject=claim.path.text,
        relation=claim.relation,  # type: ignore[arg-type]  # the grammar knows these six only
        value=value.number,
        half=_half(claim.value),
        unit=units.symbol(value.dimension),
        constant=constant.number if constant else None,
        span=claim.span,
        spans={"subject": claim.path.span, "value": claim.value.span} | ({"let": let} if let else {}),
    )


def _half(node: tree.Expression) -> float:
    """Half of the last digit that a number is written with: 0.05 ms of `8.6 ms`. 0: it is computed."""
    if not isinstance(node, tree.Number) or not (digits := DIGITS.match(node.span.text)):
        return 0.0
    power = max(-60, min(int(digits[2] or 0), 60)) - len(digits[1] or "")
    scale = units.UNITS[node.unit.text][0] if node.unit else 1
    return 0.5 * float(scale) * 10.0**power


def _of_another_kind(block: Reader, claim: tree.Claim, value: Value | None, wanted: units.Dimension) -> None:
    if value is None:
        return
    found = units.words(value.dimension) if isinstance(value, Quantity) else "no number"
    if isinstance(value, Word):
        found = f"no constant is called `{value.text}`"
    code = "P109" if isinstance(value, Quantity) else "P106"
    block.fault(code, claim.value.span, f"`{claim.path.text}` is {units.words(wanted)}", found)


def _unknown(block: Reader, claim: tree.Claim, levels: Sequence[str]) -> None:
    name, span = claim.path.text, claim.path.span
    known = [*subjects.names(levels), *block.scope.lets]
    message, fix = f"nothing is known that is called `{name}`", respelling(span, name, known)
    block.fault("P101", span, message, "unknown figure", did_you_mean(name, known) or ALL, fix)
