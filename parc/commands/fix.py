"""`parc check --fix` and `--diff`: what can be mended in plan files is written, or shown."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from os.path import realpath
from pathlib import Path
from typing import NamedTuple

from parc.check.fixing import Fixed, fix_texts
from parc.commands.check import Found, look, tell
from parc.commands.files import encoded, show_difference, write
from parc.diagnostic import Diagnostic, error
from parc.plan.imports import decode, read_bytes

OK, CHANGES, USAGE = 0, 1, 2


class Read(NamedTuple):
    path: Path  # as it was given
    data: bytes
    text: str


def fix(files: Sequence[Path], form: str, unsafe: bool, outside: bool) -> Found:
    """Write what the fixes make of the files, no others, and tell what is left."""
    read = _read(files)
    mended = _mended(read, files, unsafe, outside)
    failed: list[Diagnostic] = []
    kept = set()  # files that could not be written
    for real, file in read.items():
        if mended.texts[real] != file.text:
            try:
                write(file.path, encoded(mended.texts[real], file.text, file.data))
            except OSError as fault:
                failed.append(error("P009", f"cannot write `{file.path}`: {fault.strerror or fault}"))
                kept.add(real)
    texts = {real: file.text if real in kept else mended.texts[real] for real, file in read.items()}
    found = look(files, (), texts, outside)
    if not kept:
        found.diagnostics[:] = [_refused(each, unsafe) for each in found.diagnostics]
    found.diagnostics[:0] = failed
    done = [
        each for each in mended.fixes if not any(realpath(span.source.path) in kept for span, _ in each.edits)
    ]
    tell(found, form, len(done))
    return found


def _refused(left: Diagnostic, unsafe: bool) -> Diagnostic:
    """A fix that is still there after mending was tried, and is not to be offered again."""
    if left.fix is None or not (left.fix.safe or unsafe):
        return left
    note = f"the fix, {left.fix.title}, is not done: other errors would come of it"
    return replace(left, fix=None, notes=(*left.notes, note))


def difference(files: Sequence[Path], unsafe: bool, outside: bool) -> int:
    """Show what `fix` would write. 0: nothing; 1: something; 2: a file cannot be read."""
    read = _read(files)
    mended = _mended(read, files, unsafe, outside)
    for real, file in read.items():
        show_difference(str(file.path), file.text, mended.texts[real])
    for each in mended.diagnostics:
        if each.code == "P009":
            print(f"parc: {each.message}", file=sys.stderr)
    if mended.fixes:
        print(f"{len(mended.fixes)} would be fixed", file=sys.stderr)
    if any(each.code == "P009" for each in mended.diagnostics):
        return USAGE
    return CHANGES if mended.fixes else OK


def _read(files: Sequence[Path]) -> dict[str, Read]:
    """Each file once, by its real path, but those that cannot be read: checking tells them."""
    found: dict[str, Read] = {}
    for file in files:
        data = read_bytes(file)
        source = data if isinstance(data, Diagnostic) else decode(str(file), data)
        if isinstance(data, bytes) and not isinstance(source, Diagnostic):
            found.setdefault(realpath(file), Read(file, data, source.text))
    return found


def _mended(read: dict[str, Read], files: Sequence[Path], unsafe: bool, outside: bool) -> Fixed:
    texts = {real: file.text for real, file in read.items()}
    return fix_texts(texts, lambda texts: look(files, (), texts, outside).diagnostics, unsafe)
