"""`parc run`: compiles a plan and trains on this machine."""

from __future__ import annotations

from argparse import Namespace

from parc import driver


def run(options: Namespace) -> int:
    return driver.run(
        options.file,
        options.plan,
        options.device,
        options.rest,
        options.set,
        options.compare,
        options.allow_outside_imports,
        options.validate,
    )
