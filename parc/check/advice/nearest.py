"""The nearest values of one number of a plan that suit every rule which it concerns.

A rule knows its own arithmetic alone: that 8 divides 32 heads, and not that there are 4 kv_heads. So what it
would propose is tried: put into the plan, which the other rules then look at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

from parc.check.edits import replaced
from parc.check.registry import Rule
from parc.diagnostic import Fix, Severity
from parc.plan.blocks import Plan
from parc.plan.mesh import Axis, Mesh
from parc.plan.placement import spread_layers
from parc.source import Span

FARTHEST = 10_000  # how far from a value others are looked for
TRIES = 8  # how many of them are put into the plan, below and above
TOO_MANY_RANKS = "P201"
REFUSED = 3  # the weight of a fault that is not put up with
_DIVISION = (201, 203, 204, 205, 206, 207, 208, 209, 221, 222, 223, 225)
_STAGES = (211, 212, 213, 214, 224, 226, 227)
FAMILY = frozenset(f"P{number}" for number in (*_DIVISION, *_STAGES))  # rules about numbers that go together


class Number(NamedTuple):
    """A number of the plan that could be another one."""

    things: str  # ranks of `tp`
    value: int
    put: Callable[[int], Plan]
    fix: Callable[[int], Fix] | None = None  # None: there is no place where it is written
    least: int = 1


class Fault(NamedTuple):
    code: str
    message: str
    severity: Severity

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"


class Nearest(NamedTuple):
    """The values that do, below and above; or, where none does, what is wrong with the nearest."""

    number: Number
    values: list[int]
    faults: list[Fault]  # of the values: what is put up with. Or of the nearest, which is refused
    refused: int | None = None

    def __str__(self) -> str:
        if self.refused is None:
            return f"{self.number.things}: {either(self.values)}{self.then}"
        return f"{self.number.things}: none near: with {self.refused:,}, {self.faults[0]}"

    @property
    def then(self) -> str:
        """What the values bring up."""
        listed = ", and ".join(dict.fromkeys(map(str, self.faults)))
        return f" (then {listed})" if listed else ""

    @property
    def fix(self) -> Fix | None:
        """Where there is no choice."""
        return self.number.fix(self.values[0]) if self.number.fix and len(self.values) == 1 else None


def either(values: list[int]) -> str:
    return " or ".join(f"{value:,}" for value in values)


def size(plan: Plan, name: str) -> Number:
    """The size of an axis of the mesh. Layers that nobody has written down are spread anew."""

    def put(size: int) -> Plan:
        axes = tuple(Axis(name, size) if axis.name == name else axis for axis in plan.mesh.axes)
        mesh, pipeline, layers = Mesh(axes), plan.pipeline, plan.train.model.shape.layers
        if pipeline and layers is not None and "layers" not in pipeline.spans:
            stages = mesh.product(pipeline.axes) * pipeline.chunks
            pipeline = replace(pipeline, layers=spread_layers(layers, stages))
        return replace(plan, mesh=mesh, pipeline=pipeline)

    span = plan.spans.get(f"mesh.{name}")
    fix = (lambda size: set_size(span, name, size)) if span else None
    return Number(f"ranks of `{name}`", plan.mesh.axis(name).size, put, fix, least=2)


def set_size(span: Span, axis: str, size: int) -> Fix:
    return Fix(f"make the axis `{axis}: {size}`", ((span, f"{axis}: {size}"),), safe=False)


def of_shape(plan: Plan, key: str, things: str) -> Number:
    train = plan.train
    model, shape = train.model, train.model.shape

    def put(value: int) -> Plan:
        changed: dict[str, Any] = {key: value}
        other = replace(model, shape=replace(shape, **changed))
        return replace(plan, train=replace(train, model=other))

    return Number(things, getattr(shape, key), put)


def of_batch(plan: Plan, key: str, things: str) -> Number:
    train, batch = plan.train, plan.train.batch

    def put(value: int) -> Plan:
        changed: dict[str, Any] = {key: value}
        return replace(plan, train=replace(train, batch=replace(batch, **changed)))

    def fix(value: int) -> Fix:
        return Fix(f"write `{key} = {value}`", (replaced(batch.at(key), value),), safe=False)

    return Number(things, getattr(batch, key), put, fix if key in batch.spans else None)


def divisors(number: Number, of: int) -> tuple[Iterable[int], Iterable[int]]:
    """Values below and above, the nearest first, that divide `of`."""
    value = number.value
    below = range(value - 1, max(value - FARTHEST, number.least - 1), -1)
    above = range(max(value + 1, number.least), min(value + FARTHEST, of + 1))
    return (each for each in below if of % each == 0), (each for each in above if of % each == 0)


def multiples(number: Number, of: int) -> tuple[Iterable[int], Iterable[int]]:
    """Values below and above, the nearest first, that are multiples of `of`."""
    below = (number.value - 1) // of * of
    above = number.value // of * of + of
    return range(below, number.least - 1, -of), range(above, above + FARTHEST * of, of)


def nearest(plan: Plan, code: str, number: Number, candidates: Iterable[Iterable[int]]) -> Nearest | None:
    """Of the values that the rule `code` would propose those that bring up no other fault.

    Warnings are put up with where there is no choice; and too many ranks, where there are already. None: no
    candidate is there, or the plan is one that is tried.
    """
    if plan.tried:
        return None
    known = _faults(plan)
    ways = [list(_trials(number, code, way, known)) for way in candidates]
    for weight in range(REFUSED):
        best = [next((each for each in way if each.weight == weight), None) for way in ways]
        if good := [each for each in best if each]:
            found = [fault for each in good for fault in each.faults]
            return Nearest(number, [each.value for each in good], found)
    bad = min(
        (each for way in ways for each in way), key=lambda each: abs(each.value - number.value), default=None
    )
    return Nearest(number, [], bad.faults, bad.value) if bad else None


class Trial(NamedTuple):
    value: int
    faults: list[Fault]  # that it brings up; the one that is not put up with alone, if there is such
    weight: int


def _trials(number: Number, code: str, way: Iterable[int], known: frozenset[Fault]) -> Iterator[Trial]:
    """Of some values, up to the first that brings up nothing."""
    for value in islice(way, TRIES):
        new: list[Fault] = []
        weight = 0
        for fault in faults(number.put(value)):
            if fault not in known:
                new, weight = [*new, fault], max(weight, _weight(fault, code, known))
            if weight == REFUSED:
                new = new[-1:]
                break
        yield Trial(value, new, weight)
        if not new:
            return


def _weight(fault: Fault, code: str, known: frozenset[Fault]) -> int:
    """How much a new fault counts: 1 and 2 are put up with, the less the better."""
    if fault.code == TOO_MANY_RANKS != code and any(each.code == TOO_MANY_RANKS for each in known):
        return 2
    return REFUSED if fault.code == code or fault.severity is Severity.ERROR else 1


def faults(plan: Plan) -> Iterator[Fault]:
    """What the rules of the family find in a plan that is tried."""
    tried = replace(plan, tried=True)
    for rule in _family():
        for found in rule.run(tried):
            yield Fault(found.code, found.message, found.severity)


_latest: list[tuple[Plan, frozenset[Fault]]] = []


def _faults(plan: Plan) -> frozenset[Fault]:
    """Those that are there already: of the last plan that was asked for they are kept."""
    if not _latest or _latest[0][0] is not plan:
        _latest[:] = [(plan, frozenset(faults(plan)))]
    return _latest[0][1]


@lru_cache(maxsize=1)
def _family() -> tuple[Rule, ...]:
    from parc.check.rules import CHECKS  # which asks for all this

    return tuple(rule for rule in CHECKS.rules if rule.code in FAMILY)


def told(heading: str, found: Iterable[Nearest | None]) -> str | None:
    """The values that do; where there is none, what they contradict."""
    there = [each for each in found if each]
    good = [each for each in there if each.values]
    return f"{heading}: " + "; ".join(map(str, good or there)) if there else None
