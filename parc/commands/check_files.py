"""Checks plan files, and prints the result in the format that is asked for."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from os.path import realpath
from pathlib import Path

from parc.check.load import load, load_text
from parc.check.model_code import describe_code
from parc.commands.output import print_diagnostics, print_found
from parc.diagnostic import Diagnostic, has_errors
from parc.named_tuple import NamedTuple
from parc.plan.imports import NO_TEXTS, name_source
from parc.record import replace
from parc.render.style import escape_controls, format_path
from parc.render.text import summarize
from parc.source import Source


class Result(NamedTuple):
    diagnostics: list[Diagnostic]
    plans: list[str]  # a line for each plan
    files: set[Path]  # all files that were read, and those that could not be read
    code: list[str]  # what a build of each plan runs, each once


def check_files(
    files: Sequence[Path],
    settings: Sequence[str] = (),
    texts: Mapping[str, str] = NO_TEXTS,
    outside: bool = False,
    tries_fixes: bool = True,
) -> Result:
    """Check files. A fault of a file that several of them import is reported once.

    `texts` maps real paths to texts that replace the content of files. Fixes that edit files other than these
    are left out, and so are all fixes if there are `settings`. `tries_fixes`: as of `load_text`.
    """
    result = Result([], [], set(files), [])
    editable = set() if settings else {realpath(file) for file in files}
    seen = set()
    for file in files:
        text = texts.get(realpath(file))
        if text is None:
            loaded = load(file, settings, outside)
        else:
            loaded = load_text(Source(str(file), text), settings, texts, outside, tries_fixes=tries_fixes)
        for each in loaded.diagnostics:
            places = tuple((label.span.source.path, *label.span[1:]) for label in each.labels)
            if (each.code, each.message, places) not in seen:
                seen.add((each.code, each.message, places))
                result.diagnostics.append(_keep_fix(each, editable))
        result.plans.extend(
            f"{format_path(name_source(file))}: plan {plan.name}, {plan.mesh.size:,} ranks"
            for plan in loaded.plans
        )
        code = dict.fromkeys(describe_code(plan.train.model) for plan in loaded.plans)
        result.code.extend(each for each in code if each not in result.code)
        result.files.update(Path(source.path) for source in loaded.sources)
    return result


def _keep_fix(found: Diagnostic, editable: set[str]) -> Diagnostic:
    """The diagnostic, without its fix if that edits other files."""
    if found.fix and not all(realpath(span.source.path) in editable for span, _ in found.fix.edits):
        return replace(found, fix=None)
    return found


def print_result(result: Result, form: str, fixed: int | None = None) -> None:
    """Print diagnostics in the format `form`; `fixed` is the number of faults that have just been fixed."""
    found = result.diagnostics
    if form == "text":
        print_diagnostics(found, sys.stdout, _summarize_fixes(found, fixed))
        if not found:
            print("\n".join([*result.plans, f"{fixed} fixed, no faults left" if fixed else "no faults"]))
        if result.code and not has_errors(found):
            print(escape_controls(f"parc build runs the code of {' and '.join(result.code)}"))
        return
    print_found(found, form)
    if fixed:
        print(f"{fixed} fixed", file=sys.stderr)


def _summarize_fixes(left: Sequence[Diagnostic], fixed: int | None) -> str:
    """The number of faults, and how many of them have a fix."""
    text = f"{fixed} fixed, {summarize(left)} left" if fixed else summarize(left)
    safe = sum(bool(each.fix and each.fix.safe) for each in left)
    unsafe = sum(bool(each.fix and not each.fix.safe) for each in left)
    fixable = [f"{safe} fixable with --fix"] if safe else []
    fixable += [f"{unsafe} {'more' if safe else 'fixable'} with --unsafe-fixes"] if unsafe else []
    return f"{text} ({', '.join(fixable)})" if fixable else text
