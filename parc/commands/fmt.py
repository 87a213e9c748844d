"""`parc fmt`: formats plan files in the canonical style."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from parc.commands.files import print_difference, write
from parc.commands.output import print_diagnostics, print_exactly
from parc.commands.status import FAULTS, OK, USAGE
from parc.diagnostic import Diagnostic, error
from parc.plan.imports import STANDARD_INPUT, decode, name_source, read_bytes
from parc.render.style import escape_controls
from parc.syntax.format import format_source
from parc.syntax.parse import parse


def run(options: Namespace) -> int:
    """0: all files are formatted. 1: with --check or --diff, some are not. 2: some cannot be."""
    return max(_format_file(file, options.check, options.diff) for file in options.files)


def _format_file(file: Path, check: bool, diff: bool) -> int:
    piped = file == STANDARD_INPUT
    data = read_bytes(file)
    if isinstance(data, Diagnostic):
        return _refuse(data)
    source = decode(name_source(file), data)
    if isinstance(source, Diagnostic):
        return _refuse(source)
    faults = parse(source)[1]
    if faults:
        return _refuse(*faults)
    before, after = data.decode("utf-8"), format_source(source)
    if diff:
        print_difference(source.path, before, after)
    elif check and before != after:
        print(f"would format {escape_controls(source.path)}")
    if check or diff:
        return FAULTS if before != after else OK
    if piped:
        print_exactly(after)
    elif before != after:
        try:
            write(file, after.encode())
        except OSError as fault:
            return _refuse(error("P009", f"cannot write `{file}`: {fault.strerror or fault}"))
        print(f"formatted {escape_controls(str(file))}")
    return OK


def _refuse(*faults: Diagnostic) -> int:
    """Report why the file is left unchanged."""
    print_diagnostics(faults, sys.stderr)
    return USAGE
