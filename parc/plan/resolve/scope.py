"""What an expression is worth, given the file's `let` constants."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TypeAlias

from parc.diagnostic import Diagnostic, Fix, Label, error
from parc.plan.resolve.memo import Memo
from parc.plan.suggest import did_you_mean, nearest, respelling
from parc.record import dataclass
from parc.syntax import tree, units
from parc.syntax.units import Dimension

LARGEST = 10**40
DEEPEST = 64
MOST_VALUES = 4096  # in one list, however it is put together


@dataclass(frozen=True, slots=True)
class Quantity:
    number: int | float
    dimension: Dimension = units.NUMBER


@dataclass(frozen=True, slots=True)
class Word:
    """A bare word that names no constant: `optimizer` in `shard = optimizer`."""

    text: str


Value: TypeAlias = "Quantity | Word | str | bool | tuple[Value, ...]"


class Scope:
    """`faults` collects what is wrong; a value that could not be had is None, and has been told."""

    def __init__(self, lets: dict[str, tree.Let], faults: list[Diagnostic], memo: Memo) -> None:
        self.memo = memo
        self.lets = lets
        self.faults = faults
        self.values: dict[str, Value | None] = {}
        self.under_way: list[str] = []
        self.depth = 0

    def value(self, node: tree.Expression) -> Value | None:
        if self.depth == DEEPEST:
            self.fault("P006", node, f"values build on one another more than {DEEPEST} deep", "one too many")
            return None
        self.depth += 1
        value = self.any_value(node)
        self.depth -= 1
        return value

    def any_value(self, node: tree.Expression) -> Value | None:
        match node:
            case tree.Number():
                return self.number(node)
            case tree.String():
                return node.value
            case tree.Path():
                return self.path(node)
            case tree.Negation():
                value = self.value(node.value)
                return self.product(Quantity(-1), "*", value, node, node.value) if value is not None else None
            case tree.Chain():
                return self.chain(node)
            case tree.List():
                return self.list(node)
            case tree.Missing():
                return None
            case _:
                self.fault(
                    "P106", node, f"`{node.name.text}` has no value here", "not a number, a text or a list"
                )
                return None

    def number(self, node: tree.Number) -> Quantity | None:
        if node.unit is None:
            return Quantity(node.value)
        unit = units.UNITS.get(node.unit.text)
        if unit is None:
            self.unknown_unit(node, node.unit)
            return None
        scale, dimension = unit
        # A division is rounded once, where a product with 1e-6 would be rounded twice: 3 us is 3e-06 exactly.
        number = node.value / round(1 / scale) if scale < 1 else node.value * scale
        return self.bounded(Quantity(number, dimension), node)

    def unknown_unit(self, node: tree.Number, unit: tree.Name) -> None:
        same = [name for name in units.UNITS if name.lower() == unit.text.lower()]
        fix = respelling(unit.span, unit.text, units.UNITS)
        if same:
            edits = ((unit.span, same[0]),)
            help = f"did you mean `{same[0]}`?"
            fix = Fix(f"write `{same[0]}`", edits, safe="b" not in unit.text)  # which may be meant for bits
        elif nearest(unit.text, units.UNITS):
            help = f"did you mean `{nearest(unit.text, units.UNITS)}`?"
        elif node.span.text[-len(unit.text) - 1].isdigit():
            help = f'a word that begins with a digit stands in quotes: `"{node.span.text}"`'
            fix = Fix("put it in quotes", ((node.span, f'"{node.span.text}"'),))
        else:
            help = "units are B, kB, MB, .., KiB, MiB, .., GB/s, .., TFLOPS, .., ns, us, ms, s, min, h, d, %"
        self.faults.append(
            error(
                "P108",
                f"there is no unit `{unit.text}`",
                Label(unit.span, "unknown unit"),
                help=help,
                fix=fix,
            )
        )

    def path(self, node: tree.Path) -> Value | None:
        name = node.text
        if name in ("true", "false"):
            return name == "true"
        if name not in self.lets:
            return Word(name)
        if name in self.under_way:
            cycle = self.under_way[self.under_way.index(name) :]
            labels = [Label(self.lets[each].name.span, f"`{each}` is part of the circle") for each in cycle]
            self.faults.append(error("P115", f"`{name}` is defined by itself", *labels))
            return None
        if name not in self.values:
            self.under_way.append(name)
            self.values[name] = self.value(self.lets[name].value)
            self.under_way.pop()
        self.memo.answer("let", name, (self.lets[name], self.values[name]))
        return self.values[name]

    def list(self, node: tree.List) -> tuple[Value, ...] | None:
        values: list[Value] = []
        for item in node.items:
            if isinstance(item, tree.Pair):
                self.fault("P106", item, "this list holds plain values", "a name and a value")
                return None
            value = self.value(item)
            if value is None:
                return None
            values.append(value)
        if sum(1 for _ in islice(_leaves(tuple(values)), MOST_VALUES + 1)) > MOST_VALUES:
            self.fault("P005", node, f"a list holds at most {MOST_VALUES:,} values", "more than that")
            return None
        return tuple(values)

    def chain(self, node: tree.Chain) -> Quantity | None:
        total = self.value(node.first)
        if total is None:
            return None
        for operator, operand in node.rest:
            value = self.value(operand)
            if value is None:
                return None
            combine = self.sum if operator in "+-" else self.product
            result = combine(total, operator, value, node, operand)
            if result is None:
                return None
            total = result
        return total if isinstance(total, Quantity) else None

    def sum(
        self, left: Value, operator: str, right: Value, node: tree.Chain, operand: tree.Expression
    ) -> Quantity | None:
        if not (isinstance(left, Quantity) and isinstance(right, Quantity)):
            self.not_a_number(left, node.first, right, operand)
            return None
        if left.dimension != right.dimension:
            self.faults.append(
                error(
                    "P110",
                    f"`{operator}` joins two quantities of one kind",
                    Label(operand.span, units.words(right.dimension)),
                    Label(node.first.span, units.words(left.dimension), primary=False),
                )
            )
            return None
        number = left.number + right.number if operator == "+" else left.number - right.number
        return self.bounded(Quantity(number, left.dimension), node)

    def product(
        self,
        left: Value,
        operator: str,
        right: Value,
        node: tree.Chain | tree.Negation,
        operand: tree.Expression,
    ) -> Quantity | None:
        if not (isinstance(left, Quantity) and isinstance(right, Quantity)):
            first = node.first if isinstance(node, tree.Chain) else node.value
            self.not_a_number(left, first, right, operand)
            return None
        if operator == "*":
            return self.bounded(
                Quantity(left.number * right.number, left.dimension.times(right.dimension)), node
            )
        if right.number == 0:
            self.fault("P110", operand, "division by zero", "this is 0")
            return None
        exact = (
            isinstance(left.number, int) and isinstance(right.number, int) and not left.number % right.number
        )
        number = left.number // right.number if exact else left.number / right.number
        return self.bounded(Quantity(number, left.dimension.times(right.dimension, -1)), node)

    def not_a_number(
        self, left: Value, first: tree.Expression, right: Value, operand: tree.Expression
    ) -> None:
        culprit, node = (right, operand) if isinstance(left, Quantity) else (left, first)
        if isinstance(culprit, Word):
            self.faults.append(
                error(
                    "P101",
                    f"there is no constant `{culprit.text}`",
                    Label(node.span, "not defined by any `let`"),
                    help=did_you_mean(culprit.text, self.lets),
                    fix=respelling(node.span, culprit.text, self.lets),
                )
            )
        else:
            self.fault("P110", node, "arithmetic is done with numbers", describe(culprit))

    def bounded(self, quantity: Quantity, node: tree.Expression) -> Quantity | None:
        if -LARGEST < quantity.number < LARGEST:  # which no NaN is
            return quantity
        self.fault("P007", node, "this number is too large", "more than any count or size")
        return None

    def fault(self, code: str, node: tree.Node, message: str, label: str) -> None:
        self.faults.append(error(code, message, Label(node.span, label)))


def _leaves(value: Value) -> Iterator[Value]:
    if isinstance(value, tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def describe(value: Value) -> str:
    """What a value is, for "expected .., found ..":"""
    match value:
        case bool():
            return f"`{str(value).lower()}`"
        case Quantity():
            return units.words(value.dimension).split(",")[0]
        case Word():
            return f"the word `{value.text}`"
        case str():
            return "a text"
        case _:
            return "a list"
