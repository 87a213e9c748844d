"""Texts that a command changes: shown as a difference, or written."""

from __future__ import annotations

import os
import shutil
import sys
from difflib import unified_diff
from pathlib import Path
from tempfile import NamedTemporaryFile

from parc.faces.show import colored
from parc.render.text import GREEN, RED, RESET, printable


def show_difference(path: str, before: str, after: str) -> None:
    """What changes, as `diff -u` shows it; nothing where nothing does."""
    for line in unified_diff(_lines(before), _lines(after), path, path):
        ended = line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
        if sys.stdout.isatty():
            ended = printable(ended)
        style = {"+": GREEN, "-": RED}.get(line[0], "") if colored(sys.stdout) else ""
        sys.stdout.write(f"{style}{ended.removesuffix(chr(10))}{RESET}\n" if style else ended)


def _lines(text: str) -> list[str]:
    *lines, last = text.split("\n")
    return [f"{line}\n" for line in lines] + ([last] if last else [])


def write(path: Path, text: str) -> None:
    """Replace a file at once, so that nobody ever reads half of it. Its permissions stay; a link is followed.

    Raises OSError; the file is then as it was.
    """
    path = path.resolve()
    with NamedTemporaryFile("w", encoding="utf-8", newline="", dir=path.parent, delete=False) as file:
        try:
            file.write(text)
            file.close()
            shutil.copymode(path, file.name)
            os.replace(file.name, path)  # noqa: PTH105  # a file knows its name as a text
        except BaseException:
            os.unlink(file.name)  # noqa: PTH108
            raise
