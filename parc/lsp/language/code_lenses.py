"""Code lenses: figures and commands above each plan."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Literal, NamedTuple, TypeAlias

from parc.check.claims.verdict import format_value
from parc.check.costs import Costs, Unknown
from parc.cost.figure import format_quantity
from parc.lsp.document.analysis import Analysis
from parc.source import Span

LensKind: TypeAlias = Literal["memory", "time", "picture", "build"]
KINDS: tuple[LensKind, ...] = ("memory", "time", "picture", "build")


class Lens(NamedTuple):
    """A lens of a plan; `format_title` gives its text, which may take a moment to compute."""

    span: Span
    kind: LensKind
    plan: str


def list_lenses(analysis: Analysis, client_commands: Collection[str], trusted: bool) -> Iterator[Lens]:
    """Memory and time of each plan, and those commands that the client runs; `build` only if trusted."""
    admitted = {"memory", "time", *(client_commands if trusted else {*client_commands} - {"build"})}
    for plan in analysis.plans:
        span = analysis.locate(plan.at("name"))
        yield from (Lens(span, kind, plan.name) for kind in KINDS if kind in admitted)


def format_title(analysis: Analysis, kind: str, name: str) -> str:
    """The text of a lens; empty if the plan no longer exists."""
    costs = next((each for each in analysis.loaded.costs if each.plan.name == name), None)
    if costs is None:
        return ""
    if kind == "memory":
        return _format_memory(costs)
    if kind == "time":
        return _format_time(costs)
    return "open the picture" if kind == "picture" else "build"


def _format_memory(costs: Costs) -> str:
    try:
        peak = max(costs.memory, key=lambda figure: figure.value)
    except Unknown as reason:
        return f"memory unknown: {reason}"
    device = costs.plan.cluster.device
    limit = f" of {format_quantity(device.usable, 'B')}" if device and device.usable else ""
    return f"{format_value(peak)}{limit} a GPU ({peak.grade})"


def _format_time(costs: Costs) -> str:
    try:
        step, mfu = costs.step_figure, costs.mfu_figure
        return f"{format_value(step)} a step ({step.grade}), MFU {format_value(mfu)}"
    except Unknown as reason:
        return f"step time unknown: {reason}"
