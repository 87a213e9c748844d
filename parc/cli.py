"""The command line: finds the command, parses its arguments and runs it."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper

from parc.commands.arguments import COMMANDS, build_command_parser, build_parser
from parc.commands.status import FAULTS, USAGE

INTERRUPTED = 130  # what a shell reports for SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code. Only the parser and the module of this command are loaded.

    Without `arguments` they are those of the process, which ends with the command.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    _accept_all_characters()
    if given[:1] == ["help"]:
        given = [*given[1:2], "--help"]
    if not given or given[0] not in COMMANDS:
        return _run_without_command(given)
    name, *rest = given
    command = COMMANDS[name]
    parser = build_command_parser(name)
    options, unknown = parser.parse_known_args(rest)
    if unknown and not command.passes_arguments:
        parser.refuse_unknown(unknown)
    options.rest = unknown
    if command.needs_torch and not _require_torch(getattr(options, "format", "text")):
        return USAGE
    if arguments is None and not command.runs_long:
        gc.disable()
    try:
        code: int = import_module(f"parc.commands.{name}").run(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader has gone: `parc check .. | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAULTS
    except KeyboardInterrupt:
        return INTERRUPTED


def _accept_all_characters() -> None:
    """Let standard output show what its encoding lacks as `\\u2028`, as standard error does."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _run_without_command(given: Sequence[str]) -> int:
    """Prints the version, the help, or an error; exits with them, as argparse does."""
    from difflib import get_close_matches  # noqa: PLC0415 - start-up time: a right command needs none of it

    from parc.version import find_version  # noqa: PLC0415 - start-up time

    if given[:1] == ["--version"]:
        print("parc", find_version() or "from a checkout that is not installed")
        return 0
    parser = build_parser()
    if given and (near := get_close_matches(given[0], COMMANDS, n=1)):
        parser.error(f"there is no command `{given[0]}`: did you mean `{near[0]}`?")
    parser.parse_args(given)
    print("parc: the command must be the first argument", file=sys.stderr)
    return USAGE


def _require_torch(form: str) -> bool:
    """Whether PyTorch is installed; a report is printed if it is not."""
    from importlib.util import find_spec  # noqa: PLC0415 - start-up time: `check` does not need it

    from parc.commands.output import print_found  # noqa: PLC0415 - start-up time
    from parc.diagnostic import error  # noqa: PLC0415 - start-up time

    if find_spec("torch") is not None:
        return True
    help = "pip install 'parc-compiler[torch]'"
    fault = error("P601", "building and running need PyTorch, which is not installed", help=help)
    print_found([fault], form)
    return False


if __name__ == "__main__":
    sys.exit(main())
