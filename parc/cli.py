"""The command line: a thin face. Exit codes: 0 all is well, 1 faults, 2 wrong usage or environment."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from parc.commands import questions

if TYPE_CHECKING:
    from types import ModuleType

    from parc.commands.check import Found
    from parc.diagnostic import Diagnostic

OK, FAULTS, USAGE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    options, rest = _parser().parse_known_args(arguments)
    if rest and options.run is not _run:  # what follows `parc run` is for the program
        _parser().error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `parc check .. | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAULTS
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="parc", description="Compile parallelism plans of Mixture-of-Experts training."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    check = commands.add_parser("check", help="find the faults of plan files")
    check.add_argument("files", nargs="+", type=Path, metavar="FILE")
    check.add_argument("--format", choices=["text", "concise", "json", "sarif", "github"], default="text")
    check.add_argument("--watch", action="store_true", help="check again whenever a file changes")
    check.add_argument("--exit-zero", action="store_true", help="exit 0 whatever the plans' faults")
    check.add_argument("--fix", action="store_true", help="mend what can be mended without a change of sense")
    check.add_argument("--unsafe-fixes", action="store_true", help="mend more: look at what comes of it")
    check.add_argument(
        "--diff", action="store_true", help="show what these would change; exit 1 where there is anything"
    )
    check.set_defaults(run=_check)

    fmt = commands.add_parser("fmt", help="lay plan files out in the one canonical style")
    fmt.add_argument("files", nargs="+", type=Path, metavar="FILE", help="`-` is standard input")
    fmt.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 where something would change"
    )
    fmt.add_argument("--diff", action="store_true", help="the same, and show what would change")
    fmt.set_defaults(run=_fmt)

    rule = commands.add_parser("rule", help="what a code means and what to do about it")
    rule.add_argument("code", nargs="?", metavar="CODE")
    rule.add_argument("--all", action="store_true", help="list all codes, or write their pages")
    rule.add_argument("-o", "--out", type=Path, metavar="DIR", help="with --all: where to write them")
    rule.set_defaults(run=_rule)

    validate = commands.add_parser("validate", help="hold predicted step times against measured runs")
    validate.set_defaults(run=_validate)

    init = commands.add_parser("init", help="write a first plan for a model and a machine")
    questions.options(init)
    init.set_defaults(run=_init)

    lsp = commands.add_parser("lsp", help="language server over standard input and output, for editors")
    lsp.set_defaults(run=_lsp)

    completion = commands.add_parser("completion", help="print the script that completes parc in a shell")
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])
    completion.set_defaults(run=_completion)

    explain = commands.add_parser("explain", help="who does what: groups, stages, memory, traffic, time")
    explain.add_argument("--rank", type=int, metavar="N", help="tell of one rank")
    explain.add_argument("--format", choices=["text", "json"], default="text")
    explain.add_argument("-v", "--verbose", action="store_true", help="show how each figure came about")
    explain.add_argument(
        "--html", type=Path, metavar="OUT", help="write a page of pictures; --rank is pinned on it"
    )
    explain.add_argument("--trace", type=Path, metavar="OUT", help="write the simulated step for Perfetto")
    explain.set_defaults(run=_explain)

    diff = commands.add_parser("diff", help="what changes from one plan to another")
    diff.add_argument("before", type=Path, metavar="FILE")
    diff.add_argument(
        "after", type=Path, nargs="?", metavar="FILE", help="the same file where it is left out"
    )
    diff.add_argument(
        "--plans", nargs=2, metavar=("A", "B"), help="their plans; needed where a file has several"
    )
    diff.add_argument("--format", choices=["text", "json"], default="text")
    diff.set_defaults(run=_diff)

    build = commands.add_parser("build", help="compile a plan to a training program")
    build.add_argument("-o", "--out", required=True, type=Path, metavar="DIR")
    build.set_defaults(run=_build)

    run = commands.add_parser(
        "run", help="compile a plan and train here", epilog="All else goes to the program."
    )
    run.add_argument("--device", choices=["cpu", "cuda"])
    run.add_argument(
        "--compare",
        type=int,
        default=0,
        metavar="STEPS",
        help="afterwards, hold the first losses against those of one device",
    )
    run.set_defaults(run=_run)

    verify = commands.add_parser("verify", help="prove that a plan's program computes what its model does")
    verify.add_argument(
        "--rungs", metavar="NAME,..", help="of matching, numbers, fp32, bf16, mutants; in this order"
    )
    verify.add_argument(
        "--mutants", action="store_true", help="also inject known silent bugs: each is to be caught"
    )
    verify.add_argument(
        "--folder", type=Path, metavar="DIR", help="an emitted folder, as it stands: edits are proved"
    )
    verify.add_argument("--format", choices=["text", "json"], default="text")
    verify.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of what is drawn: tokens, ranks, sites"
    )
    verify.add_argument(
        "--timeout", type=float, default=300.0, metavar="S", help="seconds after which a step hangs"
    )
    verify.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="of the bf16 rung")
    verify.set_defaults(run=_verify)

    for command in (explain, build, run, verify):
        command.add_argument("file", type=Path, metavar="FILE")
        command.add_argument("plan", nargs="?", metavar="PLAN")
    for command in (check, explain, diff, build, run, verify):
        command.add_argument(
            "--allow-outside-imports", action="store_true", help="imports may leave the project's folder"
        )
        command.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="PATH=VALUE",
            help="such as first.batch.microbatches=64",
        )
    return parser


def _check(options: argparse.Namespace) -> int:
    import gc

    collecting = gc.isenabled()
    if not options.watch:
        gc.disable()  # so short a run leaves nothing worth collecting, and looking takes a tenth of its time
    try:
        return _checked(options)
    finally:
        if collecting:
            gc.enable()


def _checked(options: argparse.Namespace) -> int:
    from parc.commands.check import check, watch

    mending = options.fix or options.unsafe_fixes or options.diff
    if mending and options.set:
        return _misused("what is fixed is the file, not what --set makes of it")
    if mending and options.watch:
        return _misused("--watch only looks")
    outside = options.allow_outside_imports
    if options.diff:
        from parc.commands.fix import difference

        code = difference(options.files, options.unsafe_fixes, outside)
    elif mending:
        from parc.commands.fix import fix

        code = fix(options.files, options.format, options.unsafe_fixes, outside).code
    else:

        def run() -> Found:
            return check(options.files, options.set, options.format, outside)

        if options.watch:
            watch(run)
        code = run().code
    return OK if options.exit_zero and code == FAULTS else code


def _misused(why: str) -> int:
    print(f"parc check: {why}", file=sys.stderr)
    return USAGE


def _fmt(options: argparse.Namespace) -> int:
    from parc.commands.fmt import fmt

    return fmt(options.files, options.check, options.diff)


def _rule(options: argparse.Namespace) -> int:
    from parc.commands.rule import rule

    return rule(options.code, options.all, options.out)


def _validate(options: argparse.Namespace) -> int:
    from parc.cost.validate.report import format_table

    print(format_table(), end="")
    return OK


def _init(options: argparse.Namespace) -> int:
    from parc.commands.init import init

    return init(options)


def _lsp(_: argparse.Namespace) -> int:
    from importlib.util import find_spec

    from parc.diagnostic import error

    if find_spec("pygls") is None:
        from parc.commands.show import show

        help = "pip install 'parc-compiler[lsp]'"
        fault = error("P660", "the language server needs pygls, which is not installed", help=help)
        show([fault], sys.stderr)  # standard output is the editor's
        return USAGE
    from parc.lsp.main import main

    return main()


def _completion(options: argparse.Namespace) -> int:
    from parc.commands.completion import script

    print(script(_parser(), options.shell))
    return OK


def _explain(options: argparse.Namespace) -> int:
    from parc.commands.explain import Asked, explain

    return explain(
        Asked(
            options.file,
            options.plan,
            options.set,
            options.rank,
            options.format,
            options.verbose,
            options.html,
            options.trace,
        )
    )


def _diff(options: argparse.Namespace) -> int:
    from parc.commands.diff import diff

    plans = options.plans or [None, None]
    return diff(options.before, options.after or options.before, plans, options.format, options.set)


def _build(options: argparse.Namespace) -> int:
    driver = _driver()
    if driver is None:
        return USAGE
    found: tuple[Diagnostic, ...] = driver.build(
        options.file, options.plan, options.out, options.set, options.allow_outside_imports
    )
    _show(found)
    return _code(found)


def _run(options: argparse.Namespace) -> int:
    driver = _driver()
    if driver is None:
        return USAGE
    code: int = driver.run(
        options.file,
        options.plan,
        options.device,
        options.rest,
        options.set,
        options.compare,
        options.allow_outside_imports,
    )
    return code


def _verify(options: argparse.Namespace) -> int:
    if _driver() is None:
        return USAGE
    from parc.prove import prove

    return prove(options)


def _driver() -> ModuleType | None:
    """The compiler, which needs torch; None, and told, where that is not installed."""
    from importlib import import_module
    from importlib.util import find_spec

    from parc.diagnostic import error

    if find_spec("torch") is None:
        help = "pip install 'parc-compiler[torch]'"
        _show([error("P601", "building and running need PyTorch, which is not installed", help=help)])
        return None
    return import_module("parc.driver")


def _show(diagnostics: Sequence[Diagnostic]) -> None:
    from parc.commands.show import show

    show(diagnostics, sys.stdout)


def _code(diagnostics: Sequence[Diagnostic]) -> int:
    """An unreadable file is the caller's fault, everything else the plan's."""
    from parc.diagnostic import has_errors

    if any(each.code in ("P009", "P601") for each in diagnostics):
        return USAGE
    return FAULTS if has_errors(diagnostics) else OK


if __name__ == "__main__":
    sys.exit(main())
