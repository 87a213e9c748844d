"""`parc fmt`: what it writes, what it leaves, and how it exits."""

from __future__ import annotations

import io
import os
import stat
import sys
from pathlib import Path

import pytest

from parc import cli

UGLY, NEAT = "let a=1\nlet long =2 # why\n", "let a    = 1\nlet long = 2  # why\n"


@pytest.fixture
def ugly(tmp_path: Path) -> Path:
    file = tmp_path / "ugly.parc"
    file.write_text(UGLY)
    return file


def test_it_writes_the_file_and_says_so_once(ugly: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fmt", str(ugly)]) == 0
    assert ugly.read_text() == NEAT
    assert capsys.readouterr().out == f"formatted {ugly}\n"
    assert cli.main(["fmt", str(ugly)]) == 0
    assert capsys.readouterr().out == ""


def test_check_changes_nothing(ugly: Path, capsys: pytest.CaptureFixture[str]) -> None:
    neat = ugly.with_name("neat.parc")
    neat.write_text(NEAT)
    assert cli.main(["fmt", "--check", str(neat), str(ugly)]) == 1
    assert capsys.readouterr().out == f"would format {ugly}\n"
    assert ugly.read_text() == UGLY
    assert cli.main(["fmt", "--check", str(neat)]) == 0


def test_diff_shows_what_would_change(ugly: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ugly.write_text(UGLY.rstrip("\n"))
    assert cli.main(["fmt", "--diff", str(ugly)]) == 1
    assert capsys.readouterr().out == (
        f"--- {ugly}\n+++ {ugly}\n@@ -1,2 +1,2 @@\n"
        "-let a=1\n-let long =2 # why\n\\ No newline at end of file\n"
        "+let a    = 1\n+let long = 2  # why\n"
    )
    assert ugly.read_text() == UGLY.rstrip("\n")


@pytest.mark.parametrize("data", [b"\xef\xbb\xbf" + NEAT.encode(), NEAT.replace("\n", "\r\n").encode()])
def test_a_byte_order_mark_and_the_line_ends_of_windows_go(ugly: Path, data: bytes) -> None:
    ugly.write_bytes(data)
    assert cli.main(["fmt", "--check", str(ugly)]) == 1
    assert cli.main(["fmt", str(ugly)]) == 0
    assert ugly.read_bytes() == NEAT.encode()


@pytest.mark.parametrize("data", [b"let a = ", b"let a = '", b"\xff", b"#" * (256 * 1024 + 1)])
def test_a_file_with_faults_stays_as_it_is(
    ugly: Path, data: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    faulty = ugly.with_name("faulty.parc")
    faulty.write_bytes(data)
    assert cli.main(["fmt", str(faulty), str(ugly)]) == 2
    assert faulty.read_bytes() == data
    assert ugly.read_text() == NEAT  # the others are done all the same
    assert "error[P00" in capsys.readouterr().err


def test_what_is_wrong_but_understood_is_formatted(ugly: Path) -> None:
    ugly.write_text("let a=1/0")
    assert cli.main(["fmt", str(ugly)]) == 0
    assert ugly.read_text() == "let a = 1 / 0\n"


def test_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fmt", str(tmp_path / "none.parc")]) == 2
    assert "error[P009]: cannot read" in capsys.readouterr().err


def test_standard_input_goes_to_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def piped(data: bytes, *options: str) -> int:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        return cli.main(["fmt", *options, "-"])

    assert piped(UGLY.encode()) == 0
    assert capsys.readouterr().out == NEAT
    assert piped(NEAT.encode()) == 0
    assert capsys.readouterr().out == NEAT
    assert piped(UGLY.encode(), "--check") == 1
    assert capsys.readouterr().out == "would format <stdin>\n"
    assert piped(b"let a =") == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert " --> <stdin>:1:8" in told.err


def test_permissions_and_links_stay(ugly: Path) -> None:
    ugly.chmod(0o640)
    link = ugly.with_name("link.parc")
    link.symlink_to(ugly)
    assert cli.main(["fmt", str(link)]) == 0
    assert link.is_symlink()
    assert ugly.read_text() == NEAT
    assert stat.S_IMODE(ugly.stat().st_mode) == 0o640


def test_a_file_is_replaced_at_once_or_not_at_all(
    ugly: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert cli.main(["fmt", str(ugly)]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert ugly.read_text() == UGLY
    assert [file.name for file in ugly.parent.iterdir()] == ["ugly.parc"]
