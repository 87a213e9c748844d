"""Every claim of a plan against the figure that it is about."""

from __future__ import annotations

from functools import lru_cache
from operator import eq, ge, gt, le, lt, ne

from parc.check.claims import prices
from parc.check.claims.figures import derive_claimed
from parc.check.costs import MEMORY_ERROR, Costs, Unknown
from parc.cost.figure import GRADES, Figure, format_quantity
from parc.named_tuple import NamedTuple
from parc.plan import subjects
from parc.plan.blocks import Claim
from parc.record import replace

RELATIONS = {"==": eq, "!=": ne, "<=": le, ">=": ge, "<": lt, ">": gt}
ROUNDING = 1e-9  # what arithmetic in float64 may add to a figure, many times over

TIMES = {"calibrated": 0.13, "estimated": 0.37}
"""How far a predicted time is off in the mean, as docs/accuracy.md has it: over all runs that the constants
were not fitted to, and on the machine where they do worst (H100 under Megatron-Bridge)."""


class Verdict(NamedTuple):
    """`holds` is None where the claim cannot be judged: `missing` says why, and there is no figure.

    `claimed` is in the figure's unit: a share of the device's memory has become bytes. `error` is how far the
    figure may be off, as a share of it, 0 where it is arithmetic; `doubtful`: an error of that size would
    turn the verdict. `bound`: the figure is the least that it can be, which settles the claim. `mean`: why
    the figure is that of a mean, where the batch cannot be divided as the plan says.
    """

    claim: Claim
    holds: bool | None
    claimed: float
    figure: Figure | None = None
    error: float = 0.0
    doubtful: bool = False
    missing: str = ""
    bound: bool = False
    mean: str = ""

    @property
    def value(self) -> str:
        """The figure's value, as people write it."""
        assert self.figure
        return f"at least {format_value(self.figure)}" if self.bound else format_value(self.figure)

    def format_derivation(self) -> tuple[str, ...]:
        """The arithmetic, a line each: the figure, then what it is made of."""
        if self.figure is None:
            return ()
        return (_format_line(self.figure), *(f"  {_format_line(part)}" for part in self.figure.parts))


@lru_cache(maxsize=4)
def judge(costs: Costs) -> tuple[Verdict, ...]:
    """Every claim of the plan, in the order in which they are written."""
    return tuple(_judge_claim(costs, claim) for claim in costs.plan.expect)


def holds(claim: Claim, value: float, claimed: float) -> bool:
    """Whether `value relation claimed`; equal is what rounds to the digits that the claim is written with."""
    if claim.relation in ("==", "!="):
        near = abs(value - claimed) <= (claim.rounding or ROUNDING * abs(claimed))
        return near is (claim.relation == "==")
    if abs(value - claimed) <= ROUNDING * abs(claimed):
        value = claimed
    result: bool = RELATIONS[claim.relation](value, claimed)
    return result


def _judge_claim(costs: Costs, claim: Claim) -> Verdict:
    try:
        found, mean = _compare_with_even(costs, claim, derive_claimed(costs, claim))
        claimed = _convert_claimed(costs, claim, found)
    except Unknown as reason:
        return _judge_by_states(costs, claim) or Verdict(claim, None, claim.value, missing=str(reason))
    verdict = holds(claim, found.value, claimed)
    error = _estimate_error(found)
    turned = (holds(claim, found.value * (1 + sign * error), claimed) is not verdict for sign in (-1, 1))
    return Verdict(claim, verdict, claimed, found, error, any(turned), mean=mean)


def _judge_by_states(costs: Costs, claim: Claim) -> Verdict | None:
    """Of a peak that is not known, if parameters, gradients and optimizer alone settle the claim."""
    if not (claim.subject.startswith("memory.") and claim.subject.endswith(".peak")):
        return None
    try:
        least = prices.derive_states(costs, subjects.parse_stage(claim.subject))
        claimed = _convert_claimed(costs, claim, least)
    except Unknown:
        return None
    if least.value <= claimed + (claim.rounding or ROUNDING * abs(claimed)):
        return None
    return Verdict(claim, claim.relation in (">", ">=", "!="), claimed, least, bound=True)


def _compare_with_even(costs: Costs, claim: Claim, found: Figure) -> tuple[Figure, str]:
    """The figure, and the fault of the batch if it is one of the mean: then graded as expected at best."""
    if costs.batch_fault is None:
        return found, ""
    try:
        graded = _grade_mean(found, derive_claimed(costs.even, claim))
    except Unknown:
        return found, costs.batch_fault
    return graded, "" if graded is found else costs.batch_fault


def _grade_mean(found: Figure, even: Figure) -> Figure:
    """`found` itself, if it has the value of `even`, the figure of a batch that can be divided."""
    if found.value == even.value:
        return found
    others = {part.name: part for part in even.parts}
    parts = tuple(_grade_mean(part, others.get(part.name, part)) for part in found.parts)
    return replace(found, grade=max(found.grade, "expected", key=GRADES.index), parts=parts)


def _convert_claimed(costs: Costs, claim: Claim, found: Figure) -> float:
    """The claimed value in the unit of the figure."""
    if claim.unit or found.unit != "B":
        return claim.value
    device = costs.plan.cluster.device
    if not (device and device.usable):
        raise Unknown(f"the cluster `{costs.plan.cluster.name}` does not say `device.memory`")
    return claim.value * device.usable


def _estimate_error(found: Figure) -> float:
    """How far the figure may be off, as a share of it."""
    if found.grade not in TIMES:
        return 0.0
    return MEMORY_ERROR if found.unit == "B" else TIMES[found.grade]


def _format_line(found: Figure) -> str:
    return f"{found.name} {format_value(found)} ({found.grade}): {found.how}"


def format_value(found: Figure) -> str:
    """The figure's value as people write it: shares in percent, small counts in full."""
    value, unit = found.value, found.unit
    if unit.startswith("1/"):
        return format_quantity(value, "") + unit[1:]
    if unit or abs(value) >= 1e6:
        return format_quantity(value, unit)
    if value == int(value):
        return f"{value:,.0f}"
    return f"{100 * value:.3g}%" if abs(value) < 1 else format_quantity(value, "")
