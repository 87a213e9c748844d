"""What a terminal gets, and what everything else does: colour, and the width of the lines."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.front.plans import complete

ROOT = Path(__file__).parents[2]
COLOUR = re.compile(r"\033\[[0-9;]*m")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "a.parc"
    file.write_text(complete("plan wide for first on farm {\n  mesh = [dp: 3]\n  data over [dp]\n}"))
    return file


def run_on_terminal(columns: int, *arguments: str, **environment: str) -> str:
    """What `parc` writes to a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    variables = {"PYTHONPATH": str(ROOT), "TERM": "xterm", **environment}
    command = [sys.executable, "-m", "parc", *arguments]
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=variables)
    os.close(theirs)
    said = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # how Linux says that nobody writes any more
            part = b""
        if not part:
            break
        said += part
    os.close(ours)
    process.wait()
    return said.decode().replace("\r\n", "\n")


def test_a_terminal_gets_colour_and_no_line_beyond_its_width(file: Path) -> None:
    said = run_on_terminal(60, "check", str(file))
    assert "\033[1;31merror[P208]\033[0m" in said
    plain = COLOUR.sub("", said)
    assert "\033" not in plain
    place = f" --> {file}"
    assert max(len(line) for line in plain.split("\n") if not line.strip().startswith(place.strip())) <= 60
    assert "32 sequences cannot be divided" in plain


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colour_may_be_declined(file: Path, environment: dict[str, str]) -> None:
    """See https://no-color.org: any value that is not empty does."""
    assert "\033" not in run_on_terminal(80, "check", str(file), **environment)
    assert "\033" not in run_on_terminal(80, "check", "--diff", str(file), **environment)


def test_an_empty_no_color_declines_nothing(file: Path) -> None:
    assert "\033[1;31m" in run_on_terminal(80, "check", str(file), NO_COLOR="")


def test_a_terminal_of_no_known_width_is_as_wide_as_it_may_be(file: Path) -> None:
    assert "= note: 32 / (4 microbatches x 3 data ranks) = 2.67 sequences each" in COLOUR.sub(
        "", run_on_terminal(0, "check", str(file))
    )
