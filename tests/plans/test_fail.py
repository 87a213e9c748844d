"""No miss: `parc check` reports of each plan what is marked in it, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from parc.check.load import load
from parc.check.pages import list_rules
from tests.plans.marks import find_marks, parse_marks

FILES = sorted((Path(__file__).parent / "fail").glob("*.parc"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_faulty_plan_has_the_faults_that_are_marked_and_no_other(file: Path) -> None:
    expected = parse_marks(file.read_text())
    assert any(expected), "nothing is marked"
    assert find_marks(load(file)) == expected


def test_there_are_as_many_as_there_should_be() -> None:
    assert len(FILES) >= 120


# What `parc check` says of no plan file that can be read, and of which command it is.
ELSEWHERE = {
    "P008": "the file itself is no text",
    "P009": "the file itself is not there",
    "P116": "--set",
    "P118": "build, run",
}


def test_every_code_of_checking_has_a_plan() -> None:
    marked = {place.code for file in FILES for place in parse_marks(file.read_text())[0]}
    codes = {rule.code for rule in list_rules() if rule.code < "P400"}  # from there on, of other commands
    assert codes - marked == set(ELSEWHERE)
