"""What fixes leave behind."""

from __future__ import annotations

import pytest

from parc.check.edits import set_key
from tests.front.plans import complete, load
from tests.front.priced import apply_fix


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ("{ sequence = true }", "tensor over [tp]\n"),
        ("{\n    sequence = true\n  }", "tensor over [tp]\n"),
        ("{ # why\n    sequence = true\n  }", "tensor over [tp] { # why\n  }\n"),
        ('{ sequence = true, row = ["*.wo"] }', 'tensor over [tp] { row = ["*.wo"] }\n'),
        ('{ row = ["*.wo"], sequence = true }', 'tensor over [tp] { row = ["*.wo"] }\n'),
    ],
)
def test_the_last_option_of_a_strategy_goes_with_its_braces(written: str, left: str) -> None:
    """`sequence` over an axis of one rank has no effect. A comment in the braces stays, and so do they."""
    text = complete(f"plan wide for first on farm {{\n  mesh = [tp: 1]\n  tensor over [tp] {written}\n}}")
    found = next(each for each in load(text).diagnostics if each.message.startswith("`sequence"))
    better = apply_fix(text, found)
    assert f"  {left}}}" in better
    assert load(better).diagnostics == ()


@pytest.mark.parametrize(
    ("written", "after"),
    [
        ("pipeline over [pp]", "pipeline over [pp] { layers = [4, 4, 4, 4] }"),
        ("pipeline over [\n    pp\n  ]", "pipeline over [\n    pp\n  ] { layers = [4, 4, 4, 4] }"),
        (
            "pipeline over [pp] { schedule = 1f1b }",
            "pipeline over [pp] { layers = [4, 4, 4, 4], schedule = 1f1b }",
        ),
        (
            "pipeline over [pp] {\n    schedule = 1f1b  # why\n  }",
            "pipeline over [pp] {\n    schedule = 1f1b  # why\n    layers = [4, 4, 4, 4]\n  }",
        ),
    ],
)
def test_a_key_of_a_strategy_is_added_where_there_is_room(written: str, after: str) -> None:
    block = (
        load(complete(f"plan wide for first on farm {{\n  mesh = [pp: 4]\n  {written}\n}}")).plans[0].pipeline
    )
    assert block is not None
    span, text = set_key(block, "layers", "[4, 4, 4, 4]")
    source = span.source.text
    assert f"\n  {after}\n}}" in source[: span.start] + text + source[span.end :]
