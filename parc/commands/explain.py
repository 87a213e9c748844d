"""`parc explain`: a plan at a glance, one of its ranks, a page of pictures, a trace of its step."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO

from parc.check.lints import PRICED
from parc.check.load import choose, load
from parc.commands.show import colored, show
from parc.diagnostic import Diagnostic, Label, Severity, error, has_errors
from parc.plan.blocks import Plan
from parc.render.terminal import NARROWEST, WIDTH, Pen
from parc.render.text import summary
from parc.report.overview import Overview, overview
from parc.report.rank import rank_facts
from parc.source import Span

OK, FAULTS, USAGE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Asked:
    file: Path
    plan: str | None
    overrides: Sequence[str] = ()
    rank: int | None = None
    form: str = "text"
    verbose: bool = False
    html: Path | None = None
    trace: Path | None = None


def explain(asked: Asked) -> int:
    found = chosen(asked.file, asked.plan, asked.overrides)
    if isinstance(found, int):
        return found
    of = overview(found.plan)
    fault = _no_such_rank(of, asked.rank) or _written(of, asked)
    if fault:
        show([fault], sys.stdout)
        return FAULTS
    if not (asked.html or asked.trace):
        _told(of, asked)
        if found.remarks and asked.form == "text":
            print(f"parc check finds {summary(found.remarks)}")
    return OK


class Chosen(NamedTuple):
    """`remarks` are the errors that do not hinder, and warnings."""

    plan: Plan
    remarks: tuple[Diagnostic, ...]


def chosen(file: Path, name: str | None, overrides: Sequence[str]) -> Chosen | int:
    """The plan of a file; or, its faults having been shown, the exit code."""
    loaded = load(file, overrides)
    plan = choose(loaded, name)
    found = loaded.diagnostics + loaded.allowed  # what a comment allows cannot be explained any more for it
    if isinstance(plan, Plan):
        found = tuple(each for each in found if _concerns(each, plan, loaded.plans))
    if has_errors(each for each in found if each.code not in PRICED):
        show(found, sys.stdout)
        return USAGE if any(each.code == "P009" for each in found) else FAULTS
    if isinstance(plan, Diagnostic):
        show([plan], sys.stdout)
        return FAULTS
    told = (each for each in found if each.severity is not Severity.INFO and each not in loaded.allowed)
    return Chosen(plan, tuple(told))


def _concerns(found: Diagnostic, plan: Plan, plans: Iterable[Plan]) -> bool:
    """Whether it is not about another plan of the file; faults of syntax and of names concern all."""
    own = _blocks(plan)
    others = [block for other in plans for block in _blocks(other) if block not in own]
    return found.code < "P2" or not any(
        label.span.overlaps(block) for label in found.labels for block in others
    )


def _blocks(plan: Plan) -> list[Span]:
    """Where the plan stands, and what it is made of."""
    return [each.span for each in (plan, plan.train, plan.train.model, plan.cluster)]


def _written(of: Overview, asked: Asked) -> Diagnostic | None:
    """Writes what is asked for; what stands in the way."""
    if asked.html:
        from parc.render.page import page

        fault = _write(asked.html, page(of, asked.rank))
        if fault or not asked.trace:
            return fault
    if asked.trace:
        from parc.render.perfetto import trace

        text = trace(of)
        return _untimed(of) if text is None else _write(asked.trace, text)
    return None


def _untimed(of: Overview) -> Diagnostic:
    why = next((each for each in of.missing if "time" in each.what), None)
    told = f"add {why.where}: {'; '.join(why.add)}" if why and why.add else None
    label = Label(of.plan.at("name"), why.why if why else "")
    return error("P640", "no time of a step can be told, so there is nothing to trace", label, help=told)


def _write(path: Path, text: str) -> Diagnostic | None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as fault:
        return error("P642", f"`{path}` cannot be written: {fault.strerror}")
    print(f"wrote {path}")
    return None


def _no_such_rank(of: Overview, rank: int | None) -> Diagnostic | None:
    size = of.plan.mesh.size
    if rank is None or 0 <= rank < size:
        return None
    sizes = " x ".join(str(axis.size) for axis in of.plan.mesh.axes)
    label = Label(of.plan.at("mesh"), f"{sizes} = {size:,} ranks", primary=False)
    return error("P641", f"there is no rank {rank}", label, help=f"ranks are 0 to {size - 1:,}")


def _told(of: Overview, asked: Asked) -> None:
    """Prints the plan, or one rank of it."""
    facts = None if asked.rank is None else rank_facts(of, asked.rank)
    if asked.form == "json":
        from parc.report import plain

        print(json.dumps(plain.rank(facts) if facts else plain.overview(of), indent=2))
    elif facts:
        from parc.render import rank

        print(rank.render(of, facts, pen(sys.stdout), asked.verbose), end="")
    else:
        from parc.render import overview as whole

        print(whole.render(of, pen(sys.stdout), asked.verbose), end="")


def pen(stream: TextIO) -> Pen:
    """How to write to a stream: its colours, its width, and what it can show."""
    blocks = (stream.encoding or "").lower().replace("-", "") == "utf8"
    try:
        columns = os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
    except (OSError, ValueError):  # a terminal that does not say, or no file at all
        columns = 0
    return Pen(colored(stream), max(columns or WIDTH, NARROWEST), blocks)
