"""`parc check --fix`, `--unsafe-fixes` and `--diff` on files."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parc import cli
from parc.commands.files import encode
from tests.front.test_fixing import TWO_PLANS

FAULTY, MENDED = "let a 1\nlet b = 2;\n", "let a = 1\nlet b = 2\n"
GUESS, GUESSED = "let a = [1, 2\nlet b = 1\n", "let a = [1, 2]\nlet b = 1\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    file = tmp_path / "a.parc"
    file.write_text(FAULTY)
    return file


def check(*arguments: str | Path) -> int:
    return cli.main(["check", *map(str, arguments)])


def test_without_fix_reports_what_could_be_fixed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(file) == 1
    told = capsys.readouterr().out
    assert "  = fix: insert `=` (--fix)\n" in told
    assert told.endswith("\n2 errors (2 fixable with --fix)\n")
    assert file.read_text() == FAULTY
    file.write_text(FAULTY + GUESS)
    check(file)
    told = capsys.readouterr().out
    assert "  = fix: close it (--unsafe-fixes)\n" in told
    assert told.endswith("\n5 errors (2 fixable with --fix, 1 more with --unsafe-fixes)\n")
    file.write_text(GUESS)
    check(file)
    assert capsys.readouterr().out.endswith("\n1 error (1 fixable with --unsafe-fixes)\n")


def test_fix_writes_and_counts(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check("--fix", file) == 0
    assert file.read_text() == MENDED
    assert capsys.readouterr().out == "2 fixed, no faults left\n"
    assert check("--fix", file) == 0
    assert capsys.readouterr().out == "no faults\n"


def test_what_is_left_is_reported(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(FAULTY + "let c = 1 / 0\n")
    assert check("--fix", file) == 1
    assert file.read_text() == MENDED + "let c = 1 / 0\n"
    told = capsys.readouterr().out
    assert "P110" in told
    assert "P001" not in told
    assert told.endswith("\n2 fixed, 1 error left\n")
    assert check("--fix", "--exit-zero", file) == 0


def test_a_guess_is_written_only_when_asked_for(file: Path) -> None:
    file.write_text(GUESS)
    assert check("--fix", file) == 1
    assert file.read_text() == GUESS
    assert check("--unsafe-fixes", file) == 0
    assert file.read_text() == GUESSED


def test_diff_shows_what_fix_would_write(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check("--diff", file) == 1
    told = capsys.readouterr()
    assert (
        told.out
        == f"--- {file}\n+++ {file}\n@@ -1,2 +1,2 @@\n-let a 1\n-let b = 2;\n+let a = 1\n+let b = 2\n"
    )
    assert told.err == "2 would be fixed\n"
    assert file.read_text() == FAULTY
    assert check("--diff", "--exit-zero", file) == 0
    file.write_text(GUESS)
    assert check("--diff", file) == 0  # faulty, but there is nothing to show
    assert check("--diff", "--unsafe-fixes", file) == 1
    capsys.readouterr()
    assert check("--diff", file.with_name("none.parc")) == 2
    assert "cannot read" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["json", "sarif", "github", "concise"])
def test_other_tools_get_what_is_left(file: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(FAULTY + "let c = 1 / 0\n")
    assert check("--fix", "--format", form, file) == 1
    told = capsys.readouterr()
    assert "P110" in told.out
    assert "P001" not in told.out
    assert told.err == "2 fixed\n"
    if form in ("json", "sarif"):
        json.loads(told.out)


def test_many_files_each_once_and_an_import_only_when_named(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lib, other = file.with_name("lib.parc"), file.with_name("other.parc")
    lib.write_text(FAULTY)
    file.write_text('import "lib.parc"\nlet c 1\n')
    other.write_text("let d 1\n")
    assert check(file) == 1
    assert capsys.readouterr().out.endswith("\n3 errors (1 fixable with --fix)\n")
    assert check("--fix", file, other) == 1
    assert lib.read_text() == FAULTY
    assert (file.read_text(), other.read_text()) == ('import "lib.parc"\nlet c = 1\n', "let d = 1\n")
    assert capsys.readouterr().out.endswith("\n2 fixed, 2 errors left\n")
    file.write_text('import "lib.parc"\nlet c 1\n')
    assert check("--fix", file, lib, file, file.parent / "." / "lib.parc") == 0
    assert (file.read_text(), lib.read_text()) == ('import "lib.parc"\nlet c = 1\n', MENDED)
    assert capsys.readouterr().out == "3 fixed, no faults left\n"


def test_what_is_imported_through_a_link_is_found(file: Path) -> None:
    """The text beside the link is another one, and stays."""
    real = file.parent / "real"
    real.mkdir()
    (real / "lib.parc").write_text("let b 2\n")
    (real / "a.parc").write_text('import "lib.parc"\n')
    file.unlink()
    file.symlink_to(real / "a.parc")
    decoy = file.with_name("lib.parc")
    decoy.write_text("let z = 2\n")
    assert check("--fix", file, decoy, real / "lib.parc") == 0
    assert (real / "lib.parc").read_text() == "let b = 2\n"
    assert decoy.read_text() == "let z = 2\n"


def test_line_ends_byte_order_mark_and_permissions_stay(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + FAULTY.replace("\n", "\r\n").encode())
    file.chmod(0o640)
    assert check("--fix", file) == 0
    assert file.read_bytes() == b"\xef\xbb\xbf" + MENDED.replace("\n", "\r\n").encode()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


LINE = st.tuples(st.text(alphabet="ab", max_size=1), st.sampled_from(["\n", "\r\n"]))


@given(st.lists(LINE, max_size=5), st.text(alphabet="ab\n", max_size=8), st.text(alphabet="ab", max_size=2))
def test_the_lines_around_a_change_keep_their_ends(
    lines: list[tuple[str, str]], after: str, last: str
) -> None:
    raw = "".join(text + end for text, end in lines) + last
    before = raw.replace("\r\n", "\n")
    written = encode(after, before, raw.encode()).decode()
    assert written.replace("\r\n", "\n") == after
    assert encode(before, before, raw.encode()).decode() == raw
    added = encode(f"first\n{before}", before, raw.encode()).decode()
    assert added.split("\n", 1)[1] == raw
    assert encode(before + "x", before, raw.encode()).decode() == raw + "x"


def test_a_link_is_followed_and_stays(file: Path) -> None:
    link = file.with_name("link.parc")
    link.symlink_to(file)
    assert check("--fix", link) == 0
    assert link.is_symlink()
    assert file.read_text() == MENDED


def test_a_read_only_file_stays_and_the_others_are_done(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = file.with_name("b.parc")
    other.write_text(FAULTY)
    file.chmod(0o444)
    assert check("--fix", file, other) == 2
    assert (file.read_text(), other.read_text()) == (FAULTY, MENDED)
    told = capsys.readouterr().out
    assert f"error[P009]: cannot write `{file}`: it is read-only\n" in told
    assert told.endswith("\n2 fixed, 3 errors left (2 fixable with --fix)\n")
    assert sorted(each.name for each in file.parent.iterdir()) == [".git", "a.parc", "b.parc"]


def test_a_file_that_cannot_be_read_is_reported_and_the_others_are_done(file: Path) -> None:
    assert check("--fix", file.with_name("none.parc"), file) == 2
    assert file.read_text() == MENDED


@pytest.mark.parametrize("option", ["--fix", "--unsafe-fixes", "--diff"])
@pytest.mark.parametrize("other", [["--set", "a.b=1"], ["--watch"]])
def test_what_does_not_go_together(
    file: Path, option: str, other: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(option, *other, file) == 2
    assert capsys.readouterr().err.startswith("parc check: ")
    assert file.read_text() == FAULTY


@pytest.mark.parametrize("command", [["check", "--fix"], ["fmt"]])
def test_nothing_but_a_regular_file_is_written(
    file: Path, command: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """A pipe is read all the same."""
    pipe = file.with_name("pipe.parc")
    os.mkfifo(pipe)
    text = "let a = 1;\n" if "check" in command else "let a=1\n"
    writer = Thread(target=pipe.write_text, args=[text])
    writer.start()
    assert cli.main([*command, str(pipe)]) == 2
    writer.join()
    assert "not a regular file" in "".join(capfd.readouterr())
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_fix_that_would_break_another_plan_is_a_note(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`full` wants microbatches that `good` cannot have; `test_fixing.py` has the arithmetic."""
    file.write_text(TWO_PLANS)
    assert check(file, "--fix", "--unsafe-fixes") == 1
    told = capsys.readouterr().out
    assert file.read_text() == TWO_PLANS
    assert "the fix, write `microbatches = 64`, is not offered: it would cause P208" in told
    assert told.endswith("\n1 error, 1 warning\n")
    assert check(file) == 1
    assert "fixable" not in capsys.readouterr().out
