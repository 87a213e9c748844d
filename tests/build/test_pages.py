"""Every code that building tells has a page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from parc.check.pages import format_page, list_rules

PARC = Path(__file__).parents[2] / "parc"


def told() -> set[str]:
    passes = ("capture", "shard", "lower", "ir", "emit", "verify/validation")
    files = [
        PARC / "driver.py",
        PARC / "check" / "model_size.py",
        *(file for each in passes for file in (PARC / each).rglob("*.py")),
    ]
    return {code for file in files for code in re.findall(r'"(P5\d{2})"', file.read_text())}


def test_building_tells_what_it_has_pages_for() -> None:
    assert told() == {rule.code for rule in list_rules() if "P500" <= rule.code < "P600"}


@pytest.mark.parametrize(
    "code", ["P501", "P502", "P503", "P504", "P505", "P506", "P507", "P508", "P509", "P515"]
)
def test_the_page_of_a_model_that_is_refused_links_to_what_a_model_must_be(code: str) -> None:
    text = format_page(code)
    assert text is not None
    assert "](../models.md)" in text


@pytest.mark.parametrize("code", sorted(told()))
def test_the_page_shows_the_fault_and_the_cure(code: str) -> None:
    text = format_page(code)
    assert text is not None
    assert text.startswith("# ")
    assert code in ("P510", "P512", "P513", "P514", "P516") or ("## Example" in text and "## Instead" in text)
