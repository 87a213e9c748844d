"""`parc diff` as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from parc.plan.blocks import Plan
from parc.render.overview import draw_missing
from parc.render.style import BOLD, DIM, GREEN, RED, escape_controls
from parc.render.terminal import LEGEND, Pen
from parc.report.difference import Change, Difference
from parc.report.settings import SettingChange

SAME = "the same training run: both plans compute the same numbers, up to rounding"
OTHER = "DIFFERENT TRAINING RUNS: the plans compute different things, so times and bytes are not comparable"

MIN_CHANGE = 0.001  # a smaller change is not shown as a number


def render(of: Difference, pen: Pen) -> str:
    lines = [pen.paint(BOLD, escape_controls(" -> ".join(_format_names(of.before.plan, of.after.plan))))]
    lines += pen.fold(OTHER if of.train else SAME, 2, RED if of.train else GREEN)
    lines += _draw_settings(of.train, "TRAIN", "what is computed", pen)
    lines += _draw_settings(of.cluster, "CLUSTER", "", pen)
    lines += _draw_settings(of.placement, "PLACEMENT", "", pen)
    lines += _draw_settings(of.assignment, "ASSIGNMENT", "of rank r", pen)
    lines += _draw_changes(of.memory, "MEMORY", "of the fullest rank", pen, format_optional_change)
    lines += _draw_changes(
        of.traffic, "TRAFFIC", "of the rank that sends most, in a step", pen, format_optional_change
    )
    lines += _draw_changes(of.step, "STEP", "", pen, format_change)
    if of.missing:
        lines += [
            *pen.draw_title("UNKNOWN"),
            *(line for each in of.missing for line in draw_missing(each, pen)),
        ]
    if len(lines) == 2:
        return "\n".join([*lines, "  nothing differs"]) + "\n"
    return "\n".join([*lines, "", *pen.fold(LEGEND, 0, DIM)]) + "\n"


def _format_names(before: Plan, after: Plan) -> tuple[str, str]:
    """The names of the plans, with their files if these differ."""
    files = before.span.source.path, after.span.source.path
    if files[0] == files[1]:
        return before.name, after.name
    return f"{before.name} ({files[0]})", f"{after.name} ({files[1]})"


def _draw_settings(of: Sequence[SettingChange], title: str, more: str, pen: Pen) -> list[str]:
    if not of:
        return []
    return [*pen.draw_title(title, more), *pen.draw_table(("", "before", "after"), of, "<<<")]


def _draw_changes(
    of: Sequence[Change], title: str, more: str, pen: Pen, change: Callable[[Change], str]
) -> list[str]:
    """All figures if one of them changes, otherwise nothing."""
    if all(each.ratio == 1 for each in of):
        return []
    rows = [(each.name, pen.format(each.before), pen.format(each.after), change(each)) for each in of]
    return [*pen.draw_title(title, more), *pen.draw_table(("", "before", "after", "change"), rows, "<>>>")]


def format_optional_change(of: Change) -> str:
    """As `format_change`, but a plan without the figure has none of these bytes: `new` or `gone`."""
    if of.before is None:
        return "new"
    return "gone" if of.after is None else format_change(of)


def format_change(of: Change) -> str:
    """`+12.5%`, or `x 3.2` from twice the figure on; `-` if there is no ratio."""
    if of.ratio is None:
        return "-"
    if of.ratio == 1:
        return "="
    if abs(of.ratio - 1) < MIN_CHANGE:
        return f"< {MIN_CHANGE:.1%}"
    return f"x {of.ratio:.3g}" if of.ratio >= 2 else f"{of.ratio - 1:+.1%}"
