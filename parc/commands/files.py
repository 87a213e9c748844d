"""Texts that a command changes: shown as a difference, or written."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
from collections.abc import Sequence
from difflib import unified_diff
from itertools import takewhile
from pathlib import Path
from tempfile import NamedTemporaryFile

from parc.commands.show import colored
from parc.render.text import GREEN, RED, RESET, printable

WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


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


def write(path: Path, data: bytes) -> None:
    """Replace a file at once, so that nobody ever reads half of it. Its permissions stay; a link is followed.

    Raises OSError; the file is then as it was.
    """
    path = path.resolve()
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "no regular file")
    if not (mode & WRITABLE and os.access(path, os.W_OK)):  # its folder alone would let it be replaced
        raise PermissionError(errno.EACCES, "it is read-only")
    with NamedTemporaryFile("wb", dir=path.parent, delete=False) as file:
        try:
            file.write(data)
            file.close()
            shutil.copymode(path, file.name)
            os.replace(file.name, path)  # noqa: PTH105  # a file knows its name as a text
        except BaseException:
            os.unlink(file.name)  # noqa: PTH108
            raise


def encoded(text: str, before: str, data: bytes) -> bytes:
    """The bytes of a text that comes instead of `before`, which was read from `data`.

    A byte order mark stays, and so do the ends of the lines before and after all changes. Those in between
    end as most of the file's do.
    """
    mark = BYTE_ORDER_MARK if data.startswith(BYTE_ORDER_MARK) else b""
    read = data.decode("utf-8-sig").split("\n")[:-1]
    ends = ["\r\n" if line.endswith("\r") else "\n" for line in read]  # of each line but the last
    usual = "\r\n" if 2 * ends.count("\r\n") > len(ends) else "\n"
    old, new = before.split("\n"), text.split("\n")
    first = min(_alike(old, new), len(old) - 1, len(new) - 1)
    last = min(max(_alike(old[::-1], new[::-1]) - 1, 0), len(old) - 1 - first, len(new) - 1 - first)
    between = [usual] * (len(new) - 1 - first - last)
    after = [*ends[:first], *between, *ends[len(ends) - last :], ""]
    return mark + "".join(line + end for line, end in zip(new, after, strict=True)).encode()


def _alike(old: Sequence[str], new: Sequence[str]) -> int:
    """How many lines are the same from the first on."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
