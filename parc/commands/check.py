"""`parc check`: finds the faults of plan files, once or at every change, and applies fixes."""

from __future__ import annotations

import gc
from argparse import Namespace

from parc.commands.check_files import Result, check_files, print_result
from parc.commands.output import print_misuse
from parc.commands.status import FAULTS, OK, USAGE, choose_status
from parc.plan.imports import STANDARD_INPUT


def run(options: Namespace) -> int:
    """Check, watch, fix or show a difference."""
    if options.watch:
        gc.enable()
    fixing = options.fix or options.unsafe_fixes or options.diff
    if fixing and options.set:
        return _refuse("fixes edit the file, so they cannot be combined with --set", options.format)
    if STANDARD_INPUT in options.files and (fixing or options.watch):
        return _refuse(
            "standard input can neither be fixed nor watched; `parc fmt -` formats it", options.format
        )
    if fixing and options.watch:
        return _refuse("--watch cannot be combined with fixes", options.format)
    if fixing:
        from parc.commands.fix_files import diff_files, fix_files  # noqa: PLC0415 - start-up time

        outside = options.allow_outside_imports
        if options.diff:
            code = diff_files(options.files, options.unsafe_fixes, outside)
        else:
            code = fix_files(options.files, options.format, options.unsafe_fixes, outside)
    elif options.watch:
        from parc.commands.watch import watch  # noqa: PLC0415 - start-up time

        watch(lambda: _check(options))
    else:
        code = choose_status(_check(options).diagnostics)
    return OK if options.exit_zero and code == FAULTS else code


def _check(options: Namespace) -> Result:
    result = check_files(options.files, options.set, outside=options.allow_outside_imports)
    print_result(result, options.format)
    return result


def _refuse(reason: str, form: str) -> int:
    print_misuse(f"parc check: {reason}", form)
    return USAGE
