"""`parc validate`: compares predicted step times with measured runs."""

from __future__ import annotations

from argparse import Namespace

from parc.commands.status import OK
from parc.cost.validate.report import format_table


def run(_: Namespace) -> int:
    print(format_table(), end="")
    return OK
