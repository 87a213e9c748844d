"""Files that a command changes: prints the difference, or writes them."""

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

from parc.commands.output import print_exactly
from parc.render.style import GREEN, RED, RESET, escape_controls, wants_color

WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def print_difference(path: str, before: str, after: str) -> None:
    """Print the changes in the format of `diff -u`; nothing if the texts are equal."""
    name = escape_controls(path)
    for line in unified_diff(_split_lines(before), _split_lines(after), name, name):
        ended = line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
        if not sys.stdout.isatty():
            print_exactly(ended)
            continue
        style = {"+": GREEN, "-": RED}.get(line[0], "") if wants_color(sys.stdout) else ""
        for shown in map(escape_controls, ended.removesuffix("\n").split("\n")):
            print(f"{style}{shown}{RESET}" if style else shown)


def _split_lines(text: str) -> list[str]:
    *lines, last = text.split("\n")
    return [f"{line}\n" for line in lines] + ([last] if last else [])


def write(path: Path, data: bytes) -> None:
    """Replace the content of a file atomically. Its permissions are kept, and links are followed.

    Raises:
        OSError: the file cannot be written; it is unchanged.
    """
    path = path.resolve()
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file")
    if not (
        mode & WRITABLE and os.access(path, os.W_OK)
    ):  # replacing it would only need permissions of its folder
        raise PermissionError(errno.EACCES, "it is read-only")
    with NamedTemporaryFile("wb", dir=path.parent, delete=False) as file:
        try:
            file.write(data)
            file.close()
            shutil.copymode(path, file.name)
            os.replace(file.name, path)  # noqa: PTH105  # `file.name` is a string
        except BaseException:
            os.unlink(file.name)  # noqa: PTH108
            raise


def encode(text: str, before: str, data: bytes) -> bytes:
    """Encode a text that replaces `before`, which was decoded from `data`.

    A byte order mark is kept, and so are the line ends before and after all changes. Lines in between get the
    line end that prevails in the file.
    """
    mark = BYTE_ORDER_MARK if data.startswith(BYTE_ORDER_MARK) else b""
    read = data.decode("utf-8-sig").split("\n")[:-1]
    ends = ["\r\n" if line.endswith("\r") else "\n" for line in read]  # of all lines but the last
    usual = "\r\n" if 2 * ends.count("\r\n") > len(ends) else "\n"
    old, new = before.split("\n"), text.split("\n")
    first = min(_count_common(old, new), len(old) - 1, len(new) - 1)
    last = min(max(_count_common(old[::-1], new[::-1]) - 1, 0), len(old) - 1 - first, len(new) - 1 - first)
    between = [usual] * (len(new) - 1 - first - last)
    after = [*ends[:first], *between, *ends[len(ends) - last :], ""]
    return mark + "".join(line + end for line, end in zip(new, after, strict=True)).encode()


def _count_common(old: Sequence[str], new: Sequence[str]) -> int:
    """The number of equal lines from the first on."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
