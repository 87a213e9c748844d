"""Figures know their unit, their grade and where they come from."""

from __future__ import annotations

import pytest

from parc.cost.figure import Figure, add_figures, format_quantity


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (6_576_178_176, "", "6.58G"),
        (16.2e9, "B", "16.2 GB"),
        (268_435_456, "B", "268 MB"),
        (999_600, "B", "1 MB"),
        (2.06e12, "FLOP", "2.06 TFLOP"),
        (0.00861, "s", "8.61 ms"),
        (186e-6, "s", "186 us"),
        (0.0, "s", "0 ns"),
        (47.5, "s", "47.5 s"),
        (0.0857, "", "0.0857"),
    ],
)
def test_a_quantity_has_three_digits_and_a_unit(value: float, unit: str, text: str) -> None:
    assert format_quantity(value, unit) == text


def test_a_sum_is_as_good_as_its_worst_part() -> None:
    state = Figure("state", 3e9, "B", "1e9 x 3 B", "exact")
    logits = Figure("logits", 1e9, "B", "tokens x words", "estimated")
    both = add_figures("peak", [state, logits])
    assert (both.value, both.unit, both.grade) == (4e9, "B", "estimated")
    assert both.parts == (state, logits)
    assert str(both) == "peak 4 GB (estimated): state + logits"


def test_seconds_and_bytes_do_not_add_up() -> None:
    with pytest.raises(ValueError, match=r"peak: cannot add \['B', 's'\]"):
        add_figures("peak", [Figure("a", 1, "B", "", "exact"), Figure("b", 1, "s", "", "exact")])
