"""Plans beside models of every kind that people write: built and equal to the model, or refused at a line.

A comment `# P515` at the end of a line, of the plan or of its model, is what building reports there, and
`# P504 x 4` four of it. A plan
without such a comment is built without a word, and a step of its program equals one of the model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from parc import driver
from parc.check.load import load
from parc.diagnostic import has_errors

FOLDER = Path(__file__).parent / "build"
PLANS = [
    (file, plan.name) for file in sorted(FOLDER.glob("*.parc")) for plan in load(file).plans
]  # of a faulty file none
Place = tuple[str, int, str]  # a file, a line of it, a code


@pytest.mark.parametrize(("file", "plan"), PLANS, ids=[f"{file.stem}-{plan}" for file, plan in PLANS])
def test_a_model_is_built_and_equal_or_refused(file: Path, plan: str, tmp_path: Path) -> None:
    built = driver.build(file, plan, tmp_path / "out")
    found = Counter(
        (Path(each.span.source.path).name, each.span.line, each.code)
        for each in built.diagnostics
        if each.span is not None
    )
    expected = Counter(list_expected(file))
    assert found == expected, built.diagnostics
    refused = has_errors(built.diagnostics)
    assert (tmp_path / "out").exists() == (not refused)
    assert (built.validation is not None) == (not refused)


def list_expected(file: Path) -> Iterator[Place]:
    source = re.search(r'source *= "(.+):', file.read_text())
    assert source is not None
    place = source[1] if source[1].endswith(".py") else f"{source[1].replace('.', '/')}.py"
    for path in (file, FOLDER / place):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if mark := re.search(r"# (P\d{3})(?: x (\d+))?$", line):
                yield from [(path.name, number, mark[1])] * int(mark[2] or 1)


def test_every_file_has_a_plan() -> None:
    assert {file for file, _ in PLANS} == set(FOLDER.glob("*.parc"))
