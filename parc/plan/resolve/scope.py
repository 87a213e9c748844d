"""Evaluates expressions, given the `let` constants of the file."""

from __future__ import annotations

from itertools import islice

from parc.diagnostic import Diagnostic, Fix, Label, error
from parc.plan.resolve.memo import Memo
from parc.plan.resolve.values import Quantity, Value, Word, describe_value, iterate_leaves
from parc.plan.schema.plan import SCHEDULES
from parc.plan.suggest import find_nearest, fix_spelling, suggest_spelling
from parc.syntax import tree, units

NUMBER_LIKE = tuple(each for each in SCHEDULES if each[0].isdigit())  # words that are read as quantities
MAX_NUMBER = 10**40
MAX_DEPTH = 64
MAX_VALUES = 4096  # in one list, nested lists included


def _list_thousands(number: float) -> str:
    """What `4k` may mean: `4_000` or `4_096`."""
    return " or ".join(f"`{number * scale:_.0f}`" for scale in (1000, 1024))


class Scope:
    """The constants of a file. An expression without a value evaluates to None; `faults` has the reason."""

    def __init__(self, lets: dict[str, tree.Let], faults: list[Diagnostic], memo: Memo) -> None:
        self.memo = memo
        self.lets = lets
        self.faults = faults
        self.values: dict[str, Value | None] = {}
        self.evaluating: list[str] = []
        self.depth = 0

    def evaluate(self, node: tree.Expression) -> Value | None:
        """The value of an expression; None if it has none, with the fault reported."""
        if self.depth == MAX_DEPTH:
            self.report("P006", node, f"values are nested more than {MAX_DEPTH} deep", "one too many")
            return None
        self.depth += 1
        value = self.evaluate_node(node)
        self.depth -= 1
        return value

    def evaluate_node(self, node: tree.Expression) -> Value | None:
        match node:
            case tree.Number():
                return self.evaluate_number(node)
            case tree.String():
                return node.value
            case tree.Path():
                return self.evaluate_path(node)
            case tree.Negation():
                value = self.evaluate_operand(node.value)
                return (
                    self.multiply(Quantity(-1), "*", value, node, node.value) if value is not None else None
                )
            case tree.Chain():
                return self.evaluate_chain(node)
            case tree.List():
                return self.evaluate_list(node)
            case tree.Missing():
                return None
            case _:
                self.report(
                    "P106",
                    node,
                    f"`{node.name.text}` cannot be used as a value here",
                    "not a number, a text or a list",
                )
                return None

    def evaluate_number(self, node: tree.Number) -> Quantity | Word | None:
        if node.unit is None:
            return Quantity(node.value)
        unit = units.UNITS.get(node.unit.text)
        if unit is None:
            if node.span.text in NUMBER_LIKE:
                return Word(node.span.text)
            return self.report_unknown_unit(node, node.unit)
        return self.scale(node.value, unit, node)

    def scale(self, value: float, unit: tuple[float, units.Dimension], node: tree.Number) -> Quantity | None:
        """A number in a unit, as a quantity in SI units."""
        scale, dimension = unit
        # One division rounds once, a product with 1e-6 would round twice: 3 us is exactly 3e-06.
        number = value / round(1 / scale) if scale < 1 else value * scale
        return self.check_bounds(Quantity(number, dimension), node)

    def report_unknown_unit(self, node: tree.Number, unit: tree.Name) -> Quantity | None:
        """Report an unknown unit; the quantity that the fix makes of it."""
        value, meant = node.value, ""
        same = [name for name in units.UNITS if name.lower() == unit.text.lower()]
        fix = fix_spelling(unit.span, unit.text, units.UNITS)
        fix = fix and fix._replace(safe=False)  # another unit is another amount
        meant = fix.edits[0][1] if fix else ""
        if found := units.convert_foreign(node.value, unit.text):
            value, meant = found
            help = f"this is {value:.12g} {meant}"
            fix = Fix(f"write `{value:.12g} {meant}`", ((node.span, f"{value:.12g} {meant}"),))
        elif same:
            meant, edits = same[0], ((unit.span, same[0]),)
            help = f"did you mean `{meant}`?"
            fix = Fix(f"write `{same[0]}`", edits, safe="b" not in unit.text)  # `b` may stand for bits
        elif unit.text.lower().endswith("bps"):
            help, fix, meant = "write `GB/s` if these are bytes; eight bits are a byte", None, ""
        elif unit.text.lower() in ("k", "ki"):
            help, fix = f"a count is written in full: {_list_thousands(node.value)}", None
        elif find_nearest(unit.text, units.UNITS):
            help = f"did you mean `{find_nearest(unit.text, units.UNITS)}`?"
        elif node.span.text[-len(unit.text) - 1].isdigit():
            help = f'a word that begins with a digit must be in quotes: `"{node.span.text}"`'
            fix, meant = None, ""
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
        return self.scale(value, units.UNITS[meant], node) if fix and fix.safe else None

    def evaluate_path(self, node: tree.Path) -> Value | None:
        name = node.text
        if name in ("true", "false"):
            return name == "true"
        if name not in self.lets:
            return Word(name)
        if name in self.evaluating:
            cycle = self.evaluating[self.evaluating.index(name) :]
            labels = [Label(self.lets[each].name.span, f"`{each}` is part of the cycle") for each in cycle]
            self.faults.append(error("P115", f"the definition of `{name}` refers to itself", *labels))
            return None
        if name not in self.values:
            self.evaluating.append(name)
            self.values[name] = self.evaluate(self.lets[name].value)
            self.evaluating.pop()
        self.memo.record("let", name, (self.lets[name], self.values[name]))
        return self.values[name]

    def evaluate_list(self, node: tree.List) -> tuple[Value, ...] | None:
        values: list[Value] = []
        for item in node.items:
            if isinstance(item, tree.Pair):
                self.report("P106", item, "this list holds plain values, not pairs", "a name and a value")
                return None
            value = self.evaluate(item)
            if value is None:
                return None
            values.append(value)
        if sum(1 for _ in islice(iterate_leaves(tuple(values)), MAX_VALUES + 1)) > MAX_VALUES:
            self.report("P005", node, f"a list has at most {MAX_VALUES:,} values", "more than that")
            return None
        return tuple(values)

    def evaluate_chain(self, node: tree.Chain) -> Quantity | None:
        total = self.evaluate_operand(node.first)
        if total is None:
            return None
        for operator, operand in node.rest:
            value = self.evaluate_operand(operand)
            if value is None:
                return None
            combine = self.add if operator in "+-" else self.multiply
            result = combine(total, operator, value, node, operand)
            if result is None:
                return None
            total = result
        return total if isinstance(total, Quantity) else None

    def evaluate_operand(self, node: tree.Expression) -> Value | None:
        """The value of an operand, which is no bare word."""
        value = self.evaluate(node)
        return self.report_word(value, node) if isinstance(value, Word) else value

    def report_word(self, word: Word, node: tree.Expression, others: tuple[str, ...] = ()) -> Value | None:
        """Report a word that is not the name of a constant; the value of the constant that its fix names.

        `others` are words that may be meant, too.
        """
        options = [*self.lets, *others]
        help = suggest_spelling(word.text, options) if self.lets else None
        if others:
            help = help or f'a text must be in quotes: `"{word.text}"`'
        fix = fix_spelling(node.span, word.text, options)
        label = Label(node.span, "not defined by any `let`")
        self.faults.append(error("P101", f"there is no constant `{word.text}`", label, help=help, fix=fix))
        if fix is None or not fix.safe:
            return None
        meant = self.evaluate(tree.Path(node.span, (tree.Name(node.span, fix.edits[0][1]),)))
        return None if isinstance(meant, Word) else meant

    def add(
        self, left: Value, operator: str, right: Value, node: tree.Chain, operand: tree.Expression
    ) -> Quantity | None:
        if not (isinstance(left, Quantity) and isinstance(right, Quantity)):
            self.report_not_a_number(left, node.first, right, operand)
            return None
        if left.dimension != right.dimension:
            self.faults.append(
                error(
                    "P110",
                    f"`{operator}` needs two quantities of the same dimension",
                    Label(operand.span, units.describe_dimension(right.dimension)),
                    Label(node.first.span, units.describe_dimension(left.dimension), primary=False),
                )
            )
            return None
        number = left.number + right.number if operator == "+" else left.number - right.number
        return self.check_bounds(Quantity(number, left.dimension), node)

    def multiply(
        self,
        left: Value,
        operator: str,
        right: Value,
        node: tree.Chain | tree.Negation,
        operand: tree.Expression,
    ) -> Quantity | None:
        if not (isinstance(left, Quantity) and isinstance(right, Quantity)):
            first = node.first if isinstance(node, tree.Chain) else node.value
            self.report_not_a_number(left, first, right, operand)
            return None
        if operator == "*":
            return self.check_bounds(
                Quantity(left.number * right.number, left.dimension.multiply(right.dimension)), node
            )
        if right.number == 0:
            self.report("P110", operand, "division by zero", "this is 0")
            return None
        exact = (
            isinstance(left.number, int) and isinstance(right.number, int) and not left.number % right.number
        )
        number = left.number // right.number if exact else left.number / right.number
        return self.check_bounds(Quantity(number, left.dimension.multiply(right.dimension, -1)), node)

    def report_not_a_number(
        self, left: Value, first: tree.Expression, right: Value, operand: tree.Expression
    ) -> None:
        culprit, node = (right, operand) if isinstance(left, Quantity) else (left, first)
        self.report("P110", node, "arithmetic needs numbers", describe_value(culprit))

    def check_bounds(self, quantity: Quantity, node: tree.Expression) -> Quantity | None:
        if -MAX_NUMBER < quantity.number < MAX_NUMBER:  # False for NaN
            return quantity
        self.report("P007", node, "this number is too large", "more than any count or size")
        return None

    def report(self, code: str, node: tree.Node, message: str, label: str) -> None:
        self.faults.append(error(code, message, Label(node.span, label)))
