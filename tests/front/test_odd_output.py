"""Odd names and texts in the output: in any encoding no traceback, no forged line, and JSON is JSON."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from parc.cli import main
from tests.front.plans import SEED

NASTY = SEED.replace("schedule = 1f1b", 'schedule = "\\n::error::pwn \\u202e\u2028\r\x85`</script>ü模\u202e"')
NAMES = ["ü模.parc", "a\n::error::b.parc", "::error::c.parc", "a:b.parc", "-.parc", "%0A `x`.parc"]
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, encoding: str = "utf-8") -> tuple[int, str]:
        """The exit status and standard output of `parc`."""
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
        monkeypatch.setattr(sys, "stdout", stream)
        try:
            status = main(arguments)
        except SystemExit as end:
            status = int(str(end.code))
        stream.flush()
        return status, stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]

    return run


def list_odd_files(folder: Path) -> list[str]:
    found = []
    for name in [*NAMES, os.fsdecode(b"\xff.parc")]:
        try:
            (folder / name).write_text(NASTY, encoding="utf-8", newline="")
        except OSError:  # a file system of other rules
            continue
        found.append(f"./{name}" if name.startswith("-") else name)
    return found


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8", "cp437"])
@pytest.mark.parametrize("form", ["text", "concise", "json", "sarif", "github"])
def test_any_text_is_printed_in_any_encoding(run: Run, tmp_path: Path, form: str, encoding: str) -> None:
    files = list_odd_files(tmp_path)
    status, output = run("check", "--format", form, *files, encoding=encoding)
    assert status == 1
    if form in ("json", "sarif"):
        json.loads(output)
    elif form == "github":
        assert all(line.startswith("::error ") for line in output.splitlines())
    else:
        assert not any(line.lstrip().startswith("::") for line in output.splitlines() if "-->" not in line)
        assert not set("\r\x85\u2028\u202e") & set(output)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_every_command_prints_in_any_encoding(run: Run, tmp_path: Path, encoding: str) -> None:
    (tmp_path / "模.parc").write_text(SEED.replace("plan wide", "plan wide  # 模\n"), encoding="utf-8")
    (tmp_path / "a.parc").write_text(SEED, encoding="utf-8")
    for arguments in (
        ("check", "模.parc"),
        ("check", "--diff", "模.parc"),
        ("explain", "a.parc"),
        ("explain", "a.parc", "--rank", "3"),
        ("explain", "a.parc", "--format", "json"),
        ("explain", "a.parc", "--html", "模.html"),
        ("fmt", "--check", "模.parc"),
        ("rule", "P208"),
        ("rule", "--all"),
        ("--version",),
    ):
        run(*arguments, encoding=encoding)  # it raises nothing


def test_a_difference_and_a_formatted_text_are_utf_8_in_any_encoding(run: Run, tmp_path: Path) -> None:
    """They are read as files: `\\u6a21` in the place of a letter would be another text."""
    (tmp_path / "a.parc").write_text("let  a = 1 # 模\n", encoding="utf-8")
    _, output = run("fmt", "--diff", "a.parc", encoding="latin-1")
    assert "+let a = 1  # 模\n" in output.encode("latin-1").decode("utf-8")


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "--format", "json", "missing.parc"),
        ("check", "--format", "json"),
        ("check", "--format=json", "--wrong", "a.parc"),
        ("check", "--wrong", "--format", "json", "a.parc"),
        ("check", "--format", "json", "--fix", "--watch", "a.parc"),
        ("check", "--format", "json", "--fix", "--set", "a=1", "a.parc"),
        ("check", "--format", "json", "--set", "=", "a.parc"),
        ("check", "--format", "json", "importing.parc"),
        ("check", "--format", "json", "binary.parc"),
        ("check", "--format", "sarif", "--wrong", "a.parc"),
        ("explain", "--format", "json", "missing.parc"),
        ("explain", "--format", "json", "importing.parc"),
        ("explain", "--format", "json", "a.parc", "other"),
        ("explain", "--format", "json", "a.parc", "--rank", "1000000"),
        ("explain", "--format", "json", "--rank", "x", "a.parc"),
        ("diff", "--format", "json", "a.parc", "missing.parc"),
        ("diff", "--format", "json"),
    ],
    ids=" ".join,
)
def test_json_is_json_when_the_arguments_are_wrong(
    run: Run, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "a.parc").write_text(SEED, encoding="utf-8")
    (tmp_path / "importing.parc").write_text('import "missing.parc"\n' + SEED, encoding="utf-8")
    (tmp_path / "binary.parc").write_bytes(b"\xff\xfe\0")
    status, output = run(*arguments)
    assert status in (1, 2)
    found = json.loads(output)
    results = found["runs"][0]["results"] if "runs" in found else found["diagnostics"]
    assert results


def test_arguments_that_are_wrong_print_nothing_on_standard_output_without_a_format(run: Run) -> None:
    assert run("check", "--wrong", "a.parc") == (2, "")
