"""The arguments of all commands. A start of parc builds the parser of one command only."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, HelpFormatter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from parc.commands.status import USAGE
from parc.named_tuple import NamedTuple


def add_check(parser: ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="`-` is standard input")
    parser.add_argument("--format", choices=["text", "concise", "json", "sarif", "github"], default="text")
    parser.add_argument("--watch", action="store_true", help="check again whenever a file changes")
    parser.add_argument("--exit-zero", action="store_true", help="exit 0 even if a plan has faults")
    parser.add_argument("--fix", action="store_true", help="apply fixes that do not change the meaning")
    parser.add_argument("--unsafe-fixes", action="store_true", help="apply all fixes; review the result")
    parser.add_argument(
        "--diff", action="store_true", help="print what the fixes would change; exit 1 if that is anything"
    )
    add_overrides(parser)


def add_fmt(parser: ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="`-` is standard input")
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 if a file is not formatted"
    )
    parser.add_argument("--diff", action="store_true", help="as --check, and print what would change")


def add_rule(parser: ArgumentParser) -> None:
    parser.add_argument("code", nargs="?", metavar="CODE")
    parser.add_argument("--all", action="store_true", help="list all codes")
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", help="with --all: write all pages to DIR")


def add_init(parser: ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path("plan.parc"),
        metavar="FILE",
        help="the plan (plan.parc); - is standard output",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the Hugging Face config.json of the model, or its folder; - is standard input",
    )
    parser.add_argument(
        "--machine", type=str.lower, default="h100", metavar="NAME", help="from the hardware library (h100)"
    )
    parser.add_argument("--devices", type=int, metavar="N", help="number of devices (8)")
    parser.add_argument("--sequences", type=int, metavar="N", help="sequences per batch (4 per device)")
    parser.add_argument("--length", type=int, metavar="N", help="tokens per sequence (1024)")
    parser.add_argument("--source", default="model.py:Model", help="file.py:Class of the model")
    model = parser.add_argument_group("the model, without --config")
    for question in MODEL_QUESTIONS:
        name = f"--{question.key.replace('_', '-')}"
        model.add_argument(name, type=int, metavar="N", help=f"{question.text} ({question.default})")


class Question(NamedTuple):
    """A size of the model that `parc init` needs: an option, or a question on a terminal."""

    key: str
    text: str
    default: int


MODEL_QUESTIONS = (
    Question("layers", "layers", 16),
    Question("hidden", "hidden size", 1024),
    Question("heads", "attention heads", 16),
    Question("kv_heads", "key-value heads", 16),
    Question("ffn", "hidden size of the feed-forward network of one expert", 2048),
    Question("experts", "experts per layer, 0 for a dense model", 64),
    Question("top_k", "experts per token", 2),
    Question("vocab", "size of the vocabulary", 32000),
)


def add_completion(parser: ArgumentParser) -> None:
    parser.add_argument("shell", choices=["bash", "zsh", "fish"])


def add_explain(parser: ArgumentParser) -> None:
    parser.add_argument("--rank", type=int, metavar="N", help="explain this rank only")
    parser.add_argument("--format", choices=["text", "json"], default="text")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the derivation of each figure")
    parser.add_argument(
        "--html", type=Path, metavar="OUT", help="write a page of pictures; --rank pins a rank"
    )
    parser.add_argument("--trace", type=Path, metavar="OUT", help="write the simulated step for Perfetto")
    add_plan(parser)
    add_overrides(parser)


def add_diff(parser: ArgumentParser) -> None:
    parser.add_argument("before", type=Path, metavar="FILE")
    parser.add_argument("after", type=Path, nargs="?", metavar="FILE", help="the same file if left out")
    parser.add_argument(
        "--plans", nargs=2, metavar=("A", "B"), help="their plans; required if a file has several"
    )
    parser.add_argument("--format", choices=["text", "json"], default="text")
    add_overrides(parser)


def add_build(parser: ArgumentParser) -> None:
    result = parser.add_mutually_exclusive_group(required=True)
    result.add_argument("-o", "--out", type=Path, metavar="DIR")
    result.add_argument(
        "--dump-after",
        choices=["load", "capture", "propagate", "lower", "emit"],
        help="write nothing; print the program as it is after this pass of the compiler",
    )
    parser.add_argument("--force", action="store_true", help="replace a folder that was edited by hand")
    _add_validate(parser)
    add_plan(parser)
    add_overrides(parser)


def add_run(parser: ArgumentParser) -> None:
    parser.epilog = "All other arguments are passed to the program."
    parser.add_argument("--device", choices=["cpu", "cuda"])
    parser.add_argument(
        "--compare",
        type=_parse_count,
        default=0,
        metavar="STEPS",
        help="afterwards, compare the losses of the first steps with those of a single device",
    )
    _add_validate(parser)
    add_plan(parser)
    add_overrides(parser)


def _parse_count(text: str) -> int:
    """A number of steps. Raises ArgumentTypeError, an error of use."""
    if not (text.isascii() and text.isdecimal()):
        raise ArgumentTypeError(f"{text!r} is not a number of steps")
    return int(text)


def _add_validate(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--no-validate",
        dest="validate",
        action="store_false",
        help="do not compare the program with the model at a tiny size",
    )


def add_verify(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--rungs", metavar="NAME,..", help="any of matching, numbers, fp32, bf16, mutants; in this order"
    )
    parser.add_argument(
        "--mutants", action="store_true", help="also inject known silent bugs, all of which must be detected"
    )
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="verify this emitted folder, with its edits"
    )
    parser.add_argument("--format", choices=["text", "json"], default="text")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of random choices: tokens, ranks, sites of bugs"
    )
    parser.add_argument(
        "--timeout", type=float, default=300.0, metavar="S", help="seconds until a step counts as hung (300)"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="of the rung bf16")
    add_plan(parser)
    add_overrides(parser)


def add_nothing(parser: ArgumentParser) -> None:
    """A command without arguments."""


def add_plan(parser: ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="`-` is standard input")
    parser.add_argument("plan", nargs="?", metavar="PLAN")


def add_overrides(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--allow-outside-imports", action="store_true", help="permit imports from outside of the project"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="such as first.batch.microbatches=64"
    )


class Command(NamedTuple):
    summary: str
    add_arguments: Callable[[ArgumentParser], None]
    needs_torch: bool = False
    passes_arguments: bool = False  # unknown ones are for the program
    runs_long: bool = False  # collects garbage; what ends soon does not get back the time that this takes


COMMANDS = {
    "check": Command("find the faults of plan files", add_check),
    "fmt": Command("format plan files in the canonical style", add_fmt),
    "rule": Command("explain a code and how to resolve it", add_rule),
    "validate": Command("compare predicted step times with measured runs", add_nothing),
    "init": Command("write a first plan for a model and a machine", add_init),
    "lsp": Command("start the language server on standard input and output", add_nothing, runs_long=True),
    "completion": Command("print the completion script of a shell", add_completion),
    "explain": Command("show who does what: groups, stages, memory, traffic, time", add_explain),
    "diff": Command("compare two plans", add_diff),
    "build": Command("compile a plan to a training program", add_build, needs_torch=True),
    "run": Command(
        "compile a plan and train on this machine",
        add_run,
        needs_torch=True,
        passes_arguments=True,
        runs_long=True,
    ),
    "verify": Command(
        "prove that the program of a plan computes what its model does",
        add_verify,
        needs_torch=True,
        runs_long=True,
    ),
}


class CommandParser(ArgumentParser):
    """Reports wrong arguments in the format that they ask for, too."""

    given: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.given = args or ()
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        from parc.commands.output import print_misuse  # noqa: PLC0415 - start-up time

        self.print_usage(sys.stderr)
        print_misuse(f"{self.prog}: error: {message}", self.find_format())
        sys.exit(USAGE)

    def refuse_unknown(self, unknown: Sequence[str]) -> NoReturn:
        """An error that names what no argument takes, and the option that may be meant by the first of it."""
        from parc.plan.suggest import find_nearest  # noqa: PLC0415 - start-up time

        known = [option for action in self._actions for option in action.option_strings if len(option) > 2]
        word = next((each.partition("=")[0] for each in unknown if each.startswith("--")), "")
        near = find_nearest(word, known) if word else None
        self.error(
            f"unrecognized arguments: {' '.join(unknown)}{f': did you mean `{near}`?' if near else ''}"
        )

    def find_format(self) -> str:
        """The value of `--format`, which may be among arguments that cannot be parsed."""
        formats = next((each.choices for each in self._actions if each.dest == "format"), None) or ()
        for option, value in pairwise([*self.given, ""]):
            name, sign, joined = option.partition("=")
            if name == "--format" and (joined if sign else value) in formats:
                return joined if sign else value
        return "text"


def build_command_parser(name: str) -> CommandParser:
    """The parser of one command."""
    command = COMMANDS[name]
    parser = CommandParser(
        prog=f"parc {name}", description=command.summary, formatter_class=_choose_formatter()
    )
    command.add_arguments(parser)
    return parser


def build_parser(complete: bool = False) -> ArgumentParser:
    """The parser of `parc` with its commands; `complete` adds their arguments, too."""
    parser = ArgumentParser(
        prog="parc", description="Compile parallelism plans of Mixture-of-Experts training."
    )
    parser.add_argument("--version", action="store_true", help="print the version of parc")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        added = commands.add_parser(name, help=command.summary, description=command.summary)
        if complete:
            command.add_arguments(added)
    return parser


def _choose_formatter() -> partial[HelpFormatter]:
    """A formatter as wide as the terminal. Without a width, argparse would import shutil."""
    columns = os.environ.get("COLUMNS", "")
    try:
        width = int(columns) if columns.isdecimal() else os.get_terminal_size().columns
    except OSError:
        width = 80
    return partial(HelpFormatter, width=max(width - 2, 40))
