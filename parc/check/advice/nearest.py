"""The nearest values of a number of a plan that suit every rule which it concerns.

A rule knows its own arithmetic alone: that 8 divides 32 heads, and not that there are 4 kv_heads. So each
value that the rule would propose is put into the plan, and the other rules check that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from parc.check.advice.alternatives import MEAN, depends_on_microbatches
from parc.check.detection import detect_faults
from parc.check.divisibility import join_values
from parc.check.edits import replace_text
from parc.check.registry import Detected, Finding
from parc.check.requests import Candidates, NearestValues, Number
from parc.diagnostic import Fix, Severity
from parc.named_tuple import NamedTuple
from parc.plan.blocks import Plan
from parc.plan.mesh import Axis, Mesh
from parc.plan.placement import spread_layers
from parc.record import replace

TRIES = 8  # how many values are put into the plan, below and above
TOO_MANY_RANKS = "P201"
REFUSED = 3  # the weight of a fault that no value may have
_DIVISION = (201, 203, 204, 205, 206, 207, 208, 209, 221, 222, 223, 225)
_STAGES = (211, 212, 213, 214, 224, 226, 227)
FAMILY = frozenset(f"P{number}" for number in (*_DIVISION, *_STAGES))  # rules about numbers that go together


class Fault(NamedTuple):
    code: str
    message: str
    severity: Severity

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"


class Nearest(NamedTuple):
    """The values that suit, below and above; or, where none does, the nearest and its fault.

    `faults` are new ones that the values cause and that are accepted: warnings.
    """

    candidates: Candidates
    values: list[int]
    faults: list[Fault]
    refused: int | None = None

    def __str__(self) -> str:
        things = self.candidates.number.things
        if self.refused is not None:
            return f"{things}: none nearby: at {self.refused:,}, {self.faults[0]}"
        listed = ", and ".join(dict.fromkeys(map(str, self.faults)))
        return f"{things}: {join_values(self.values)}" + (f" (then {listed})" if listed else "")


def add_nearest(plan: Plan, one: Detected, request: NearestValues, detected: Iterable[Detected]) -> Finding:
    """The finding with the values in its help, and the fix where there is no choice.

    `detected` is all that rules find in the plan.
    """
    known, finding = frozenset(_list_faults(detected)), one.finding
    searched = (_search(plan, one.rule.code, each, known) for each in request.candidates)
    found = [each for each in searched if each]
    good = [each for each in found if each.values]
    shown = good or ([] if finding.help else found)
    if not shown:
        return finding
    help = f"{request.heading}: " + "; or ".join(map(str, shown))
    if depends_on_microbatches(plan) and any(each.candidates.number.key == "microbatches" for each in good):
        help += f" ({MEAN})"
    fixable = [each for each in found if each.candidates.fixable]
    fix = _make_fix(plan, fixable[0]) if len(fixable) == 1 else None
    return finding._replace(help=f"{finding.help}; {help}" if finding.help else help, fix=fix or finding.fix)


def _search(plan: Plan, code: str, candidates: Candidates, known: frozenset[Fault]) -> Nearest | None:
    """Of the values that the rule `code` would propose those that cause no other fault.

    Warnings are accepted where there is no choice, and so are too many ranks where there are already. None:
    the rule proposes no value.
    """
    number = candidates.number
    ways = [list(_try_values(plan, code, candidates, values, known)) for values in candidates.ranges]
    for weight in range(REFUSED):
        best = [next((each for each in way if each.weight == weight), None) for way in ways]
        if good := [each for each in best if each]:
            faults = [fault for each in good for fault in each.faults]
            return Nearest(candidates, [each.value for each in good], faults)
    tried = (each for way in ways for each in way)
    bad = min(tried, key=lambda each: abs(each.value - number.value), default=None)
    return Nearest(candidates, [], bad.faults, bad.value) if bad else None


class Trial(NamedTuple):
    """A value; the faults that it causes, or the one alone for which it is refused; and their weight."""

    value: int
    faults: list[Fault]
    weight: int


def _try_values(
    plan: Plan, code: str, candidates: Candidates, values: Iterable[int], known: frozenset[Fault]
) -> Iterator[Trial]:
    """Trials of values in one direction, up to the first that causes no fault."""
    dividing = (value for value in values if candidates.dividend % value == 0)
    for value in islice(dividing, TRIES):
        new: list[Fault] = []
        weight = 0
        other = _set_number(plan, candidates.number, value)
        for fault in _list_faults(detect_faults(other, FAMILY)):
            if fault not in known:
                new, weight = [*new, fault], max(weight, _weigh(fault, code, known))
            if weight == REFUSED:
                new = new[-1:]
                break
        yield Trial(value, new, weight)
        if not new:
            return


def _weigh(fault: Fault, code: str, known: frozenset[Fault]) -> int:
    """How much a new fault counts: 1 and 2 are accepted, the less the better."""
    if fault.code == TOO_MANY_RANKS != code and any(each.code == TOO_MANY_RANKS for each in known):
        return 2
    return REFUSED if fault.code == code or fault.severity is Severity.ERROR else 1


def _list_faults(detected: Iterable[Detected]) -> Iterator[Fault]:
    for rule, finding in detected:
        yield Fault(rule.code, finding.message, rule.severity)


def _set_number(plan: Plan, number: Number, value: int) -> Plan:
    """The plan with another value. Layers that the file does not assign to stages are spread again."""
    train = plan.train
    changed: dict[str, Any] = {number.key: value}  # each key is one of a block's whole numbers
    match number.block:
        case "shape":
            shape = replace(train.model.shape, **changed)
            return replace(plan, train=replace(train, model=replace(train.model, shape=shape)))
        case "batch":
            return replace(plan, train=replace(train, batch=replace(train.batch, **changed)))
    axes = tuple(Axis(axis.name, changed.get(axis.name, axis.size)) for axis in plan.mesh.axes)
    mesh, pipeline, layers = Mesh(axes), plan.pipeline, train.model.shape.layers
    if pipeline and layers is not None and "layers" not in pipeline.spans:
        stages = mesh.product(pipeline.axes) * pipeline.chunks
        pipeline = replace(pipeline, layers=spread_layers(layers, stages))
    return replace(plan, mesh=mesh, pipeline=pipeline)


def _make_fix(plan: Plan, nearest: Nearest) -> Fix | None:
    """Write the value down, if it is the only one and there is a place for it."""
    if len(nearest.values) != 1:
        return None
    (value,), (block, key, *_) = nearest.values, nearest.candidates.number
    batch = plan.train.batch
    if block == "mesh" and (span := plan.spans.get(f"mesh.{key}")):
        return Fix(f"make the axis `{key}: {value}`", ((span, f"{key}: {value}"),), safe=False)
    if block == "batch" and key in batch.spans:
        return Fix(f"write `{key} = {value}`", (replace_text(batch.at(key), value),), safe=False)
    return None
