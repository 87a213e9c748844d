"""`docs/lint-rules.md`: each rule of other frameworks has a code here and plans with it, or else a reason."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from parc.check.pages import list_rules
from tests.plans.marks import parse_marks

ROOT = Path(__file__).parents[2]
GAPS = {f"G{number}" for number in range(1, 11)}
RULES = {
    f"{letters}{number}"
    for series in ("W5", "E14", "T5", "C2", "P8", "B1", "R3", "O1", "TT12", "DS1", "NT1", "CA1")
    for letters, most in re.findall(r"([A-Z]+)(\d+)", series)
    for number in range(1, int(most) + 1)
}


class Row(NamedTuple):
    id: str
    codes: list[str]
    why: str
    plans: list[Path]


def rows() -> list[Row]:
    found = []
    for line in (ROOT / "docs" / "lint-rules.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"[A-Z]+\d+", cells[0]):
            plans = [ROOT / "docs" / link for link in re.findall(r"\]\((\S+\.parc)\)", cells[4])]
            found.append(Row(cells[0], re.findall(r"\[(P\d{3})\]", cells[2]), cells[3], plans))
    return found


def test_every_rule_and_every_gap_has_a_row() -> None:
    ids = [row.id for row in rows()]
    assert len(RULES) == 54
    assert sorted(ids) == sorted(RULES | GAPS)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.id)
def test_a_row_is_true(row: Row) -> None:
    known = {rule.code for rule in list_rules()}
    assert set(row.codes) <= known
    assert row.codes or len(row.why) > 20, "neither a code nor a reason"
    assert row.codes or row.id not in GAPS
    marked = {place.code for plan in row.plans for place in parse_marks(plan.read_text())[0]}
    told_by_building = {code for code in row.codes if code >= "P400"}
    assert set(row.codes) - marked == told_by_building


def test_its_links_lead_somewhere() -> None:
    text = (ROOT / "docs" / "lint-rules.md").read_text()
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (ROOT / "docs" / link).is_file(), link
