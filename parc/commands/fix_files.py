"""Applies the fixes of plan files, or shows what they would change."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from os.path import realpath
from pathlib import Path
from typing import NamedTuple

from parc.check.fixing import Fixed, Texts, fix_texts
from parc.commands.check_files import check_files, print_result
from parc.commands.files import encode, print_difference, write
from parc.commands.status import FAULTS, OK, USAGE, choose_status
from parc.diagnostic import Diagnostic, error
from parc.plan.imports import decode, read_bytes


class PlanFile(NamedTuple):
    path: Path  # as it was given
    data: bytes
    text: str


def fix_files(files: Sequence[Path], form: str, unsafe: bool, outside: bool) -> int:
    """Write the files with their fixes applied, and print what is left; the exit code."""
    read = _read_files(files)
    fixed = _apply_fixes(read, files, unsafe, outside)
    failed: list[Diagnostic] = []
    unwritten = set()
    for real, file in read.items():
        if fixed.texts[real] != file.text:
            try:
                write(file.path, encode(fixed.texts[real], file.text, file.data))
            except OSError as fault:
                failed.append(error("P009", f"cannot write `{file.path}`: {fault.strerror or fault}"))
                unwritten.add(real)
    texts = {real: file.text if real in unwritten else fixed.texts[real] for real, file in read.items()}
    result = check_files(files, (), texts, outside)
    result.diagnostics[:0] = failed
    applied = [
        each
        for each in fixed.fixes
        if not any(realpath(span.source.path) in unwritten for span, _ in each.edits)
    ]
    print_result(result, form, len(applied))
    return choose_status(result.diagnostics)


def diff_files(files: Sequence[Path], unsafe: bool, outside: bool) -> int:
    """Print what `fix_files` would change. 0: nothing; 1: something; 2: a file cannot be read."""
    read = _read_files(files)
    fixed = _apply_fixes(read, files, unsafe, outside)
    for real, file in read.items():
        print_difference(str(file.path), file.text, fixed.texts[real])
    unreadable = [each for each in fixed.diagnostics if each.code == "P009"]
    for each in unreadable:
        print(f"parc: {each.message}", file=sys.stderr)
    if fixed.fixes:
        print(f"{len(fixed.fixes)} would be fixed", file=sys.stderr)
    if unreadable:
        return USAGE
    return FAULTS if fixed.fixes else OK


def _read_files(files: Sequence[Path]) -> dict[str, PlanFile]:
    """Each file once, by its real path. Unreadable files are left out: the check reports them."""
    found: dict[str, PlanFile] = {}
    for file in files:
        data = read_bytes(file)
        source = data if isinstance(data, Diagnostic) else decode(str(file), data)
        if isinstance(data, bytes) and not isinstance(source, Diagnostic):
            found.setdefault(realpath(file), PlanFile(file, data, source.text))
    return found


def _apply_fixes(read: dict[str, PlanFile], files: Sequence[Path], unsafe: bool, outside: bool) -> Fixed:
    texts = {real: file.text for real, file in read.items()}

    def check(texts: Texts) -> list[Diagnostic]:
        return check_files(files, (), texts, outside, tries_fixes=False).diagnostics

    return fix_texts(texts, check, unsafe)
