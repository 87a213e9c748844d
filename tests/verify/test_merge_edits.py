"""Edits of an emitted folder are merged into the smaller program, or refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from parc.verify.report import NotProvable, RungFinding
from parc.verify.sample.merge_edits import merge_edits

EMITTED = """\
class Stage:
    def forward(self, x):
        x = x.view(8, 1024)
        x = self.norm(x)
        return x * 1024
"""
SAMPLE = EMITTED.replace("1024", "24").replace("(8,", "(2,")


def merged(folder: Path, text: str, base: str = EMITTED, ours: str = SAMPLE) -> str:
    (folder / "stage_0.py").write_text(text)
    made = merge_edits({"stage_0.py": base.encode()}, folder, {"stage_0.py": ours.encode()})
    return made.files["stage_0.py"].decode()


def test_what_is_not_edited_is_the_samples(tmp_path: Path) -> None:
    assert merged(tmp_path, EMITTED) == SAMPLE


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x = self.norm(x)", "x = 2 * self.norm(x)"),
        ("        x = self.norm(x)\n", ""),
        ("        x = self.norm(x)\n", "        y = x\n        x = self.norm(y)\n"),
        ("class Stage:\n", "import os\n\n\nclass Stage:\n"),
    ],
)
def test_lines_without_sizes_are_replaced_removed_and_added(old: str, new: str, tmp_path: Path) -> None:
    assert merged(tmp_path, EMITTED.replace(old, new)) == SAMPLE.replace(old, new)


def test_beside_a_size_the_samples_size_stays(tmp_path: Path) -> None:
    edit = EMITTED.replace("x = x.view(8, 1024)", "x = 3 * x.view(8, 1024).abs()")
    assert merged(tmp_path, edit) == SAMPLE.replace("x = x.view(2, 24)", "x = 3 * x.view(2, 24).abs()")


def test_an_edited_size_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(NotProvable) as found:
        merged(tmp_path, EMITTED.replace("x * 1024", "x * 512"))
    assert "the edit at stage_0.py:5 (`return x * 512`)" in str(found.value)
    assert "a number that has another value in the smaller program" in str(found.value)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("        x = self.norm(x)\n", "        x = self.norm(x)\n        x = x[:, :1024]\n", 5),
        ("x = self.norm(x)", "x = self.norm(x) * 1024", 4),
        ("x * 1024", "x.view(1024) * 1024", 5),
    ],
)
def test_an_added_size_is_not_guessed_either(old: str, new: str, line: int, tmp_path: Path) -> None:
    with pytest.raises(NotProvable, match=rf"the edit at stage_0\.py:{line} .*1024 is a size"):
        merged(tmp_path, EMITTED.replace(old, new))


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stage_0.py").write_bytes(EMITTED.encode() + "# é\n".encode("latin-1"))
    with pytest.raises(NotProvable, match=r"`stage_0\.py` is not UTF-8 at line 6"):
        merge_edits({"stage_0.py": EMITTED.encode()}, tmp_path, {"stage_0.py": SAMPLE.encode()})


def test_a_number_that_is_the_same_in_both_may_be_edited(tmp_path: Path) -> None:
    base = EMITTED.replace("self.norm(x)", "self.norm(x, 0.5)")
    ours = SAMPLE.replace("self.norm(x)", "self.norm(x, 0.5)")
    edit = base.replace("0.5", "0.25")
    assert merged(tmp_path, edit, base, ours) == ours.replace("0.5", "0.25")


def test_an_edit_among_lines_that_the_sample_lacks_is_refused(tmp_path: Path) -> None:
    base = EMITTED.replace(
        "        x = self.norm(x)\n", "        x = self.norm(x)\n        x = self.wide(x)\n"
    )
    with pytest.raises(NotProvable, match=r"the edit at stage_0\.py:5 .*does not have"):
        merged(tmp_path, base.replace("self.wide(x)", "self.wide(x).abs()"), base)


def test_a_finding_has_the_users_lines(tmp_path: Path) -> None:
    edit = "import os\n\n\n" + EMITTED.replace("x = self.norm(x)", "x = 2 * self.norm(x)")
    (tmp_path / "stage_0.py").write_text(edit)
    longer = f'"""The sample begins with one more line."""\n{SAMPLE}'
    made = merge_edits({"stage_0.py": EMITTED.encode()}, tmp_path, {"stage_0.py": longer.encode()})
    lines = made.files["stage_0.py"].decode().splitlines()
    theirs = edit.splitlines()
    for text in ("        x = 2 * self.norm(x)", "        x = x.view"):
        there = next(number for number, line in enumerate(lines, 1) if line.startswith(text))
        mine = next(number for number, line in enumerate(theirs, 1) if line.startswith(text))
        found = made.translate(
            RungFinding("it differs", (f"at stage_0.py:{there}, class Stage",), "stage_0.py", there)
        )
        assert (found.line, found.details) == (mine, (f"at stage_0.py:{mine}, class Stage",))


def test_other_files_are_copied(tmp_path: Path) -> None:
    (tmp_path / "stage_0.py").write_text(EMITTED)
    (tmp_path / "helper.py").write_text("TWO = 2\n")
    made = merge_edits({"stage_0.py": EMITTED.encode()}, tmp_path, {"stage_0.py": SAMPLE.encode()})
    assert made.files["helper.py"] == b"TWO = 2\n"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotProvable, match=r"`stage_0\.py` is missing"):
        merge_edits({"stage_0.py": EMITTED.encode()}, tmp_path, {"stage_0.py": SAMPLE.encode()})
