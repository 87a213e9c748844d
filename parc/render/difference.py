"""`parc diff` as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from parc.plan.blocks import Plan
from parc.render.overview import absent
from parc.render.terminal import DIM, LEGEND, Pen
from parc.render.text import BOLD, GREEN, RED, printable
from parc.report.difference import Change, Difference
from parc.report.settings import Said

SAME = "the same training run: both compute the same numbers, up to rounding"
OTHER = "DIFFERENT TRAINING RUNS: what they compute differs, so times and bytes are of different work"

LEAST = 0.001  # a change that is told as a number


def render(of: Difference, pen: Pen) -> str:
    lines = [pen.paint(BOLD, printable(" -> ".join(_names(of.before.plan, of.after.plan))))]
    lines += pen.folded(OTHER if of.train else SAME, 2, RED if of.train else GREEN)
    lines += _said(of.train, "TRAIN", "what is computed", pen)
    lines += _said(of.cluster, "CLUSTER", "", pen)
    lines += _said(of.placement, "PLACEMENT", "", pen)
    lines += _said(of.homes, "HOMES", "what rank r has", pen)
    lines += _changes(of.memory, "MEMORY", "of the fullest rank", pen, comes_or_goes)
    lines += _changes(of.traffic, "TRAFFIC", "of the rank that sends most, in a step", pen, comes_or_goes)
    lines += _changes(of.step, "STEP", "", pen, changed)
    if of.missing:
        lines += [*pen.title("NOT TOLD"), *(line for each in of.missing for line in absent(each, pen))]
    if len(lines) == 2:
        return "\n".join([*lines, "  nothing differs"]) + "\n"
    return "\n".join([*lines, "", *pen.folded(LEGEND, 0, DIM)]) + "\n"


def _names(before: Plan, after: Plan) -> tuple[str, str]:
    """With their files where these differ."""
    files = before.span.source.path, after.span.source.path
    if files[0] == files[1]:
        return before.name, after.name
    return f"{before.name} ({files[0]})", f"{after.name} ({files[1]})"


def _said(of: Sequence[Said], title: str, more: str, pen: Pen) -> list[str]:
    if not of:
        return []
    return [*pen.title(title, more), *pen.table(("", "before", "after"), of, "<<<")]


def _changes(
    of: Sequence[Change], title: str, more: str, pen: Pen, change: Callable[[Change], str]
) -> list[str]:
    """Nothing where nothing changes; all of them where something does."""
    if all(each.ratio == 1 for each in of):
        return []
    rows = [(each.name, pen.told(each.before), pen.told(each.after), change(each)) for each in of]
    return [*pen.title(title, more), *pen.table(("", "before", "after", "change"), rows, "<>>>")]


def comes_or_goes(of: Change) -> str:
    """The same of what is nothing where it is not told: bytes of a kind, or over a link."""
    if of.before is None:
        return "new"
    return "gone" if of.after is None else changed(of)


def changed(of: Change) -> str:
    """`+12.5%`, or `x 3.2` where it more than doubles."""
    if of.ratio is None:
        return "-"
    if of.ratio == 1:
        return "="
    if abs(of.ratio - 1) < LEAST:
        return f"< {LEAST:.1%}"
    return f"x {of.ratio:.3g}" if of.ratio >= 2 else f"{of.ratio - 1:+.1%}"
