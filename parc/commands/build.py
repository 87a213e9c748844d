"""`parc build`: compiles a plan to a training program."""

from __future__ import annotations

import sys
from argparse import Namespace

from parc import driver
from parc.commands.output import print_diagnostics
from parc.commands.status import choose_status


def run(options: Namespace) -> int:
    given = (options.set, options.allow_outside_imports)
    if options.dump_after is None:
        asked = {"check": options.validate, "force": options.force}
        built = driver.build(options.file, options.plan, options.out, *given, **asked)
        found = built.diagnostics
        print_diagnostics(found, sys.stdout)
        if built.validation:
            print(built.validation)
    else:
        text, found = driver.dump_after(options.file, options.plan, options.dump_after, *given)
        print(text or "", end="")
        print_diagnostics(found, sys.stderr)
    return choose_status(found)
