"""Resolves `expect { .. }`: the claims of a plan about itself."""

from __future__ import annotations

import re
from collections.abc import Sequence

from parc.plan import blocks, subjects
from parc.plan.resolve.reader import BlockReader
from parc.plan.resolve.values import Quantity, Value, Word
from parc.plan.suggest import fix_spelling, suggest_spelling
from parc.source import Span
from parc.syntax import tree, units

DIGITS = re.compile(r"[0-9_]+(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
HELP = "`parc rule P306` lists all subjects; `let` constants are subjects, too"


def resolve_claims(block: BlockReader, levels: Sequence[str]) -> tuple[blocks.Claim, ...]:
    """The claims that can be judged; `levels` are the names of the levels of the cluster."""
    written, found = block.claims, []
    block.claims = []
    block.finish()
    for claim in written:
        known = subjects.find_subject(claim.path.text, levels)
        if known:
            resolved = _resolve_plan_claim(block, claim, known)
        elif claim.path.text in block.scope.lets:
            resolved = _resolve_constant_claim(block, claim)
        else:
            resolved = None
            _report_unknown(block, claim, levels)
        if resolved:
            found.append(resolved)
    return tuple(found)


def _resolve_plan_claim(
    block: BlockReader, claim: tree.Claim, known: subjects.Subject
) -> blocks.Claim | None:
    value = block.scope.evaluate(claim.value)
    if isinstance(value, Quantity) and value.dimension in known.dimensions:
        return _build_claim(claim, value)
    _report_dimension(block, claim, value, known.describe_dimensions())
    return None


def _resolve_constant_claim(block: BlockReader, claim: tree.Claim) -> blocks.Claim | None:
    constant, value = block.scope.evaluate(claim.path), block.scope.evaluate(claim.value)
    let = block.scope.lets[claim.path.text]
    if constant is None:
        return None
    if not isinstance(constant, Quantity):
        block.report(
            "P106", claim.path.span, f"`{claim.path.text}` is not a number", "only numbers can be compared"
        )
        return None
    if isinstance(value, Quantity) and value.dimension == constant.dimension:
        return _build_claim(claim, value, constant, let.value.span)
    _report_dimension(block, claim, value, units.describe_dimension(constant.dimension))
    return None


def _build_claim(
    claim: tree.Claim, value: Quantity, constant: Quantity | None = None, let: Span | None = None
) -> blocks.Claim:
    return blocks.Claim(
        subject=claim.path.text,
        relation=claim.relation,  # type: ignore[arg-type]  # the grammar has only these six
        value=value.number,
        rounding=_compute_rounding(claim.value),
        unit=units.format_unit(value.dimension),
        constant=constant.number if constant else None,
        span=claim.span,
        spans={"subject": claim.path.span, "value": claim.value.span} | ({"let": let} if let else {}),
    )


def _compute_rounding(node: tree.Expression) -> float:
    """Half a unit of the last digit of a literal: 0.05 ms for `8.6 ms`. 0 for other expressions."""
    if not isinstance(node, tree.Number) or not (digits := DIGITS.match(node.span.text)):
        return 0.0
    power = max(-60, min(int(digits[2] or 0), 60)) - len(digits[1] or "")
    scale = units.UNITS.get(node.unit.text, (0.0,))[0] if node.unit else 1  # 0: of a unit that was reported
    return 0.5 * float(scale) * 10.0**power


def _report_dimension(block: BlockReader, claim: tree.Claim, value: Value | None, wanted: str) -> None:
    if value is None:
        return
    found = units.describe_dimension(value.dimension) if isinstance(value, Quantity) else "not a number"
    if isinstance(value, Word):
        found = f"there is no constant `{value.text}`"
    code = "P109" if isinstance(value, Quantity) else "P106"
    block.report(
        code,
        claim.value.span,
        f"`{claim.path.text}` must be compared with {wanted}",
        found,
    )


def _report_unknown(block: BlockReader, claim: tree.Claim, levels: Sequence[str]) -> None:
    name, span = claim.path.text, claim.path.span
    known = [*subjects.list_subjects(levels), *block.scope.lets]
    message, fix = f"unknown subject `{name}`", fix_spelling(span, name, known)
    block.report("P101", span, message, "not a subject of claims", suggest_spelling(name, known) or HELP, fix)
