"""No miss: `parc check` reports of each plan what is marked in it, and no more."""

from __future__ import annotations

from collections import Counter
from os.path import realpath
from pathlib import Path

import pytest

from parc.check.fixing import apply_fixes
from parc.check.load import load, load_text
from parc.check.pages import list_rules
from parc.source import Source
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


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_fix_corrects_what_it_is_offered_for(file: Path) -> None:
    """And what is called safe brings up nothing new."""
    loaded = load(file)
    texts = {realpath(source.path): source.text for source in loaded.sources}
    before = Counter((each.code, each.message) for each in loaded.diagnostics)
    for diagnostic in loaded.diagnostics:
        if diagnostic.fix is None:
            continue
        mended, applied = apply_fixes(texts, [diagnostic.fix])
        assert applied
        text = mended[realpath(file)]
        after = Counter((each.code, each.message) for each in load_text(Source(str(file), text)).diagnostics)
        fault = diagnostic.code, diagnostic.message
        assert after[fault] < before[fault], diagnostic.fix
        new = {code for code, _ in after - before}
        assert not any(code.startswith("P0") for code in new)
        assert not (diagnostic.fix.safe and new), (diagnostic.fix, new)
