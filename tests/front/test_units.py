"""Units, and arithmetic on quantities."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parc.diagnostic import Diagnostic
from parc.plan.resolve.memo import Memo
from parc.plan.resolve.scope import Scope
from parc.plan.resolve.values import Quantity, Word
from parc.source import Source
from parc.syntax import tree, units
from parc.syntax.parse import parse
from tests.front.plans import summarize


def evaluate(text: str) -> tuple[object, list[Diagnostic]]:
    """The value of `x` in a file of `let` constants."""
    file, faults = parse(Source("plan.parc", text))
    assert faults == ()
    lets = {each.name.text: each for each in file.statements if isinstance(each, tree.Let)}
    found: list[Diagnostic] = []
    return Scope(lets, found, Memo()).evaluate(lets["x"].value), found


def evaluate_number(text: str) -> Quantity:
    value, faults = evaluate(f"let x = {text}")
    assert faults == []
    assert isinstance(value, Quantity)
    return value


@pytest.mark.parametrize(
    ("text", "amount", "dimension"),
    [
        ("64 GB", 64 * 10**9, units.SIZE),
        ("64 GiB", 64 * 2**30, units.SIZE),
        ("1 kB", 1000, units.SIZE),
        ("1.8 TB/s", 1.8e12, units.BANDWIDTH),
        ("50 GB/s", 50 * 10**9, units.BANDWIDTH),
        ("400 TFLOPS", 400 * 10**12, units.COMPUTE),
        ("400 TFLOP/s", 400 * 10**12, units.COMPUTE),
        ("2 PFLOP", 2 * 10**15, units.WORK),
        ("3 us", 3e-6, units.TIME),
        ("3 µs", 3e-6, units.TIME),
        ("5 ms", 5e-3, units.TIME),
        ("8 ns", 8e-9, units.TIME),
        ("2 min", 120, units.TIME),
        ("2 h", 7200, units.TIME),
        ("90%", 0.9, units.NUMBER),
        ("0.1 %", 0.001, units.NUMBER),
    ],
)
def test_units_are_held_in_si(text: str, amount: float, dimension: units.Dimension) -> None:
    assert evaluate_number(text) == Quantity(amount, dimension)


@pytest.mark.parametrize(
    ("text", "amount", "dimension"),
    [
        ("1 + 2 * 3", 7, units.NUMBER),
        ("(1 + 2) * 3", 9, units.NUMBER),
        ("10 - 2 - 3", 5, units.NUMBER),
        ("64 / 4 / 2", 8, units.NUMBER),
        ("-2 * 3", -6, units.NUMBER),
        ("64 GB / 4 s", 16 * 10**9, units.BANDWIDTH),
        ("400 TFLOPS * 2 s", 800 * 10**12, units.WORK),
        ("2 * 64 GB + 1 GB", 129 * 10**9, units.SIZE),
        ("50% * 64 GB", 32 * 10**9, units.SIZE),
        ("64 GB / 2 GB", 32, units.NUMBER),
    ],
)
def test_arithmetic_keeps_dimensions(text: str, amount: float, dimension: units.Dimension) -> None:
    assert evaluate_number(text) == Quantity(amount, dimension)


def test_whole_numbers_stay_whole_where_they_divide() -> None:
    assert type(evaluate_number("128 / 8").number) is int
    assert type(evaluate_number("128 / 5").number) is float


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("64 GB + 3 us", "P110", "3 us"),
        ("64 GB - 3", "P110", "3"),
        ("1 / 0", "P110", "0"),
        ("1 / (2 - 2)", "P110", "2 - 2"),
        ('1 + "a"', "P110", '"a"'),
        ("1 + true", "P110", "true"),
        ("[1] * 2", "P110", "[1]"),
        ("2 * width", "P101", "width"),
        ("64 GBs", "P108", "GBs"),
        ("64 gb", "P108", "gb"),
        ("4sequences", "P108", "sequences"),
        ("1e30 * 1e30", "P007", "1e30 * 1e30"),
        ("-(1e39 * 100)", "P007", "1e39 * 100"),
        ("files(1)", "P106", "files(1)"),
        ("[ep: 8]", "P106", "ep: 8"),
    ],
)
def test_what_has_no_value(text: str, code: str, place: str) -> None:
    value, faults = evaluate(f"let x = {text}")
    assert value is None
    (fault,) = faults
    assert fault.span
    assert (fault.code, fault.span.text) == (code, place)


@pytest.mark.parametrize(
    ("text", "help"),
    [
        ("64 gb", "did you mean `GB`?"),
        ("64 GiBs", "did you mean `GiB`?"),
        ("2nodes", 'a word that begins with a digit must be in quotes: `"2nodes"`'),
    ],
)
def test_the_unit_that_was_meant(text: str, help: str) -> None:
    _, (fault,) = evaluate(f"let x = {text}")
    assert fault.help == help


def test_a_schedule_that_begins_with_a_digit_is_a_word() -> None:
    assert evaluate("let x = 1f1b") == (Word("1f1b"), [])
    assert evaluate("let x = 1 f1b")[0] is None


def test_both_sides_of_a_mismatch_are_pointed_at() -> None:
    _, (fault,) = evaluate("let x = 64 GB + 3 us")
    assert [(label.span.text, label.text) for label in fault.labels] == [
        ("3 us", "a time, such as `3 us`"),
        ("64 GB", "a size in bytes, such as `64 GB`"),
    ]


def test_constants_may_be_used_before_they_are_defined() -> None:
    value, faults = evaluate("let x = 2 * width\nlet width = height + 1\nlet height = 3")
    assert (value, faults) == (Quantity(8), [])


def test_a_circle_of_constants_is_reported_once() -> None:
    value, faults = evaluate("let x = y + 1\nlet y = 2 * z\nlet z = y")
    assert value is None
    assert [summarize(fault) for fault in faults] == [("P115", "y")]
    assert [label.span.line for label in faults[0].labels] == [2, 3]


def test_constants_that_double_themselves_do_not_take_the_memory() -> None:
    text = (
        "let x = [a0, a0]\n"
        + "\n".join(f"let a{i} = [a{i + 1}, a{i + 1}]" for i in range(30))
        + "\nlet a30 = 1"
    )
    value, faults = evaluate(text)
    assert value is None
    assert {fault.code for fault in faults} <= {"P005", "P006"}
    squares = (
        "let x = a0 * a0\n"
        + "\n".join(f"let a{i} = a{i + 1} * a{i + 1}" for i in range(30))
        + "\nlet a30 = 10"
    )
    value, faults = evaluate(squares)
    assert value is None
    assert faults[0].code == "P007"


def test_constants_that_build_on_one_another_without_end_do_not_take_the_stack() -> None:
    text = "let x = a0\n" + "\n".join(f"let a{i} = a{i + 1} + 1" for i in range(2000)) + "\nlet a2000 = 1"
    value, faults = evaluate(text)
    assert value is None
    assert faults[0].code == "P006"


@given(st.integers(0, 10**15), st.sampled_from(sorted(units.UNITS)))
def test_every_unit_is_exact_for_whole_amounts(amount: int, unit: str) -> None:
    scale, dimension = units.UNITS[unit]
    value = evaluate_number(f"{amount} {unit}")
    assert value.dimension == dimension
    # A fraction of a second or a percent is one correctly rounded division; everything else is an integer.
    assert value.number == (amount / round(1 / scale) if scale < 1 else amount * scale)
