"""docs/exit-codes.md: a code means the same for every command."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest

from parc import cli
from parc.commands.arguments import COMMANDS
from tests.front.plans import SEED, complete

PAGE = (Path(__file__).parents[2] / "docs" / "exit-codes.md").read_text()
GOOD, FAULTY, BROKEN, MISSING = "good.parc", "faulty.parc", "broken.parc", "missing.parc"
TEXTS = {
    GOOD: complete("plan wide for first on farm {\n  mesh = [dp: 4]\n  data over [dp]\n}\n"),
    FAULTY: complete("plan wide for first on farm {\n  mesh = [dp: 3]\n  data over [dp]\n}\n"),
    BROKEN: "let a = = 1\n",
    "untidy.parc": "let   a=1\n",
    "tidy.parc": "let a = 1\n",
    "mendable.parc": "let a 1\n",
}
CASES = [
    ("check", (GOOD,), 0),
    ("check", (FAULTY,), 1),
    ("check", (FAULTY, MISSING), 2),
    ("check", ("--diff", GOOD), 0),
    ("check", ("--diff", "mendable.parc"), 1),
    ("check", ("--diff", MISSING), 2),
    ("check", ("--exit-zero", FAULTY), 0),
    ("check", ("--exit-zero", MISSING), 2),
    ("check", ("--fix", "-"), 2),
    ("check", ("--watch", "-"), 2),
    ("check", (), 2),
    ("check", ("--no-such-option", GOOD), 2),
    ("fmt", ("--check", "tidy.parc"), 0),
    ("fmt", ("--check", "untidy.parc"), 1),
    ("fmt", ("--diff", "untidy.parc"), 1),
    ("fmt", (BROKEN,), 2),
    ("fmt", (MISSING,), 2),
    ("rule", ("P208",), 0),
    ("rule", ("P999",), 2),
    ("init", ("-o", GOOD), 2),
    ("explain", (GOOD,), 0),
    ("explain", (FAULTY,), 1),
    ("explain", (GOOD, "--rank", "99"), 1),
    ("explain", (MISSING,), 2),
    ("diff", (GOOD, GOOD), 0),
    ("diff", (GOOD, FAULTY), 1),
    ("diff", (GOOD, MISSING), 2),
    ("build", (FAULTY, "-o", "out"), 1),
    ("build", (MISSING, "-o", "out"), 2),
    ("run", (FAULTY,), 1),
    ("run", (MISSING,), 2),
    ("verify", (FAULTY,), 2),
    ("verify", (MISSING,), 2),
    ("completion", ("bash",), 0),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def run(*arguments: str) -> object:
    try:
        return cli.main(list(arguments))
    except SystemExit as left:  # of the arguments
        return left.code


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("command", "arguments", "code"), CASES)
def test_a_code_is_what_the_page_says(command: str, arguments: tuple[str, ...], code: int) -> None:
    assert run(command, *arguments) == code


def test_the_page_has_every_command() -> None:
    rows = re.findall(r"^\| (`[^|]*) \|", PAGE, re.M)
    assert {name for row in rows for name in re.findall(r"`(\w+)", row)} == set(COMMANDS)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "text", "code", "shown"),
    [
        (("check", "-"), TEXTS[GOOD], 0, "<stdin>"),
        (("check", "-"), TEXTS[FAULTY], 1, "--> <stdin>:"),
        (("explain", "-"), SEED, 0, "wide"),
        (("explain", "-", "wide", "--format", "json"), SEED, 0, '"wide"'),
        (("fmt", "-"), "let   a=1\n", 0, "let a = 1\n"),
    ],
)
def test_a_dash_is_standard_input(
    arguments: tuple[str, ...],
    text: str,
    code: int,
    shown: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert cli.main(list(arguments)) == code
    assert shown in capsys.readouterr().out
