"""`parc completion`: the script with which a shell completes commands, options and files."""

from __future__ import annotations

from argparse import Action, ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path

import shtab

from parc.commands.arguments import build_parser
from parc.commands.status import OK


def run(options: Namespace) -> int:
    """Print the script, which is generated from the parser of the command line."""
    parser = build_parser(complete=True)
    for action in _iterate_actions(parser):
        if action.type is Path:
            kind = shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE
            action.complete = kind  # type: ignore[attr-defined]  # shtab reads it
    print(shtab.complete(parser, options.shell))
    return OK


def _iterate_actions(parser: ArgumentParser) -> Iterator[Action]:
    """The arguments of a parser and of its subparsers."""
    for action in parser._actions:
        yield action
        if isinstance(action, _SubParsersAction):
            for command in action.choices.values():
                yield from _iterate_actions(command)
