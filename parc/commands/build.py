"""`parc build`: compiles a plan to a training program."""

from __future__ import annotations

import sys
from argparse import Namespace

from parc import driver
from parc.commands.output import print_diagnostics
from parc.commands.status import choose_status
from parc.diagnostic import CompileError


def run(options: Namespace) -> int:
    if options.dump_after:
        return _dump(options)
    found = driver.build(options.file, options.plan, options.out, options.set, options.allow_outside_imports)
    print_diagnostics(found, sys.stdout)
    return choose_status(found)


def _dump(options: Namespace) -> int:
    """Print the program after a pass; no folder is written."""
    arguments = (options.file, options.plan, options.dump_after, options.set, options.allow_outside_imports)
    try:
        print(driver.dump_pass(*arguments), end="")
    except CompileError as refused:
        print_diagnostics(refused.diagnostics, sys.stdout)
        return choose_status(refused.diagnostics)
    return 0
