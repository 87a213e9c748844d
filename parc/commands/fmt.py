"""`parc fmt`: plan files in canonical style."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from parc.commands.files import show_difference, write
from parc.commands.show import show
from parc.diagnostic import Diagnostic, error
from parc.plan.imports import MAX_BYTES, decode, read_bytes
from parc.syntax.format import formatted
from parc.syntax.parse import parse

OK, CHANGES, FAULTS = 0, 1, 2


def fmt(files: Sequence[Path], check: bool, diff: bool) -> int:
    """0: all is in style, or now is. 1: something is not, and `check` or `diff` leave it so. 2: faults."""
    return max(_one(file, check, diff) for file in files)


def _one(file: Path, check: bool, diff: bool) -> int:
    piped = str(file) == "-"
    data = sys.stdin.buffer.read(MAX_BYTES + 1) if piped else read_bytes(file)
    if isinstance(data, Diagnostic):
        return _refuse(data)
    source = decode("<stdin>" if piped else str(file), data)
    if isinstance(source, Diagnostic):
        return _refuse(source)
    faults = parse(source)[1]
    if faults:
        return _refuse(*faults)
    before, after = data.decode("utf-8"), formatted(source)
    if diff:
        show_difference(source.path, before, after)
    elif check and before != after:
        print(f"would format {source.path}")
    if check or diff:
        return CHANGES if before != after else OK
    if piped:
        sys.stdout.write(after)
    elif before != after:
        try:
            write(file, after.encode())
        except OSError as fault:
            return _refuse(error("P009", f"cannot write `{file}`: {fault.strerror or fault}"))
        print(f"formatted {file}")
    return OK


def _refuse(*faults: Diagnostic) -> int:
    """The file stays as it is."""
    show(faults, sys.stderr)
    return FAULTS
