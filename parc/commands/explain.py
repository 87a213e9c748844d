"""`parc explain`: shows a plan or one of its ranks as text, a page of pictures, or a trace of its step."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path

from parc.commands.output import print_found
from parc.commands.select_plan import select_plan
from parc.commands.status import FAULTS, OK
from parc.diagnostic import Diagnostic, Label, error
from parc.render import overview as overview_text
from parc.render import rank as rank_text
from parc.render.perfetto import render_trace
from parc.render.style import escape_controls
from parc.render.terminal import make_pen
from parc.render.text import summarize
from parc.report.overview import Overview, build_overview
from parc.report.rank import describe_rank
from parc.report.serialize import serialize_overview, serialize_rank


def run(options: Namespace) -> int:
    selected = select_plan(options.file, options.plan, options)
    if isinstance(selected, int):
        return selected
    overview = build_overview(selected.plan)
    fault = _check_rank(overview, options.rank) or _write_files(overview, options)
    if fault:
        print_found([fault], options.format)
        return FAULTS
    if not (options.html or options.trace):
        _print_overview(overview, options)
        if selected.remarks and options.format == "text":
            print(f"parc check finds {summarize(selected.remarks)}")
    return OK


def _check_rank(overview: Overview, rank: int | None) -> Diagnostic | None:
    """A fault if the plan does not have this rank."""
    mesh = overview.plan.mesh
    if rank is None or 0 <= rank < mesh.size:
        return None
    sizes = " x ".join(str(axis.size) for axis in mesh.axes)
    label = Label(overview.plan.at("mesh"), f"{sizes} = {mesh.size:,} ranks", primary=False)
    return error("P641", f"there is no rank {rank}", label, help=f"ranks are 0 to {mesh.size - 1:,}")


def _write_files(overview: Overview, options: Namespace) -> Diagnostic | None:
    """Write the page and the trace, as far as they are asked for; a fault if one cannot be written."""
    if options.html:
        from parc.render.page import render_page  # noqa: PLC0415 - start-up time: it imports jinja2

        fault = _write(options.html, render_page(overview, options.rank))
        if fault:
            return fault
    if options.trace:
        text = render_trace(overview)
        return _report_no_time(overview) if text is None else _write(options.trace, text)
    return None


def _report_no_time(overview: Overview) -> Diagnostic:
    reason = next((each for each in overview.missing if "time" in each.figures), None)
    help = f"add {reason.where}: {'; '.join(reason.add)}" if reason and reason.add else None
    label = Label(overview.plan.at("name"), reason.reason if reason else "")
    return error("P640", "the time of a step is unknown, so there is no trace", label, help=help)


def _write(path: Path, text: str) -> Diagnostic | None:
    if path.suffix == ".parc":
        return error("P642", f"`{path}` has the name of a plan, which is not overwritten")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as fault:
        return error("P642", f"`{path}` cannot be written: {fault.strerror}")
    print(f"wrote {escape_controls(str(path))}")
    return None


def _print_overview(overview: Overview, options: Namespace) -> None:
    """Print the plan, or one rank of it."""
    rank = None if options.rank is None else describe_rank(overview, options.rank)
    if options.format == "json":
        value = serialize_rank(rank) if rank else serialize_overview(overview)
        print(json.dumps(value, indent=2))
    elif rank:
        print(rank_text.render(overview, rank, make_pen(sys.stdout), options.verbose), end="")
    else:
        print(overview_text.render(overview, make_pen(sys.stdout), options.verbose), end="")
