"""Every code that building tells has a page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from parc.check.building import BUILDING
from parc.check.pages import page

PARC = Path(__file__).parents[2] / "parc"


def told() -> set[str]:
    files = [PARC / "driver.py", *(PARC / "shard").rglob("*.py"), *(PARC / "emit").rglob("*.py")]
    return {code for file in files for code in re.findall(r'"(P\d{3})"', file.read_text())}


def test_building_tells_what_it_has_pages_for() -> None:
    assert told() == {rule.code for rule in BUILDING.rules}


@pytest.mark.parametrize("code", sorted(told()))
def test_the_page_shows_the_fault_and_the_cure(code: str) -> None:
    text = page(code)
    assert text is not None
    assert text.startswith("# ")
    assert code == "P510" or ("## Example" in text and "## Instead" in text)
