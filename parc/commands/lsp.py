"""`parc lsp`: the language server."""

from __future__ import annotations

import sys
from argparse import Namespace
from importlib.util import find_spec

from parc.commands.output import print_diagnostics
from parc.commands.status import USAGE
from parc.diagnostic import error


def run(_: Namespace) -> int:
    if find_spec("pygls") is None:
        help = "pip install 'parc-compiler[lsp]'"
        fault = error("P660", "the language server needs pygls, which is not installed", help=help)
        print_diagnostics([fault], sys.stderr)  # standard output belongs to the editor
        return USAGE
    from parc.lsp.main import main  # noqa: PLC0415 - pygls may not be installed

    return main()
