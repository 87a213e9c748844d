"""`parc build`: compiles a plan to a training program."""

from __future__ import annotations

import sys
from argparse import Namespace

from parc import driver
from parc.commands.output import print_diagnostics
from parc.commands.status import choose_status


def run(options: Namespace) -> int:
    found = driver.build(options.file, options.plan, options.out, options.set, options.allow_outside_imports)
    print_diagnostics(found, sys.stdout)
    return choose_status(found)
