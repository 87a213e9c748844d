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


def render(difference: Difference, pen: Pen) -> str:
    lines = [
        pen.paint(
            BOLD, escape_controls(" -> ".join(_format_names(difference.before.plan, difference.after.plan)))
        )
    ]
    lines += pen.fold(OTHER if difference.train else SAME, 2, RED if difference.train else GREEN)
    lines += _draw_settings(difference.train, "TRAIN", "what is computed", pen)
    lines += _draw_settings(difference.cluster, "CLUSTER", "", pen)
    lines += _draw_settings(difference.placement, "PLACEMENT", "", pen)
    lines += _draw_settings(difference.assignment, "ASSIGNMENT", "of rank r", pen)
    lines += _draw_changes(difference.memory, "MEMORY", "of the fullest rank", pen, format_optional_change)
    lines += _draw_changes(
        difference.traffic, "TRAFFIC", "of the rank that sends most, in a step", pen, format_optional_change
    )
    lines += _draw_changes(difference.step, "STEP", "", pen, format_change)
    if difference.missing:
        lines += [
            *pen.draw_title("UNKNOWN"),
            *(line for each in difference.missing for line in draw_missing(each, pen)),
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


def _draw_settings(changes: Sequence[SettingChange], title: str, more: str, pen: Pen) -> list[str]:
    if not changes:
        return []
    return [*pen.draw_title(title, more), *pen.draw_table(("", "before", "after"), changes, "<<<")]


def _draw_changes(
    changes: Sequence[Change], title: str, more: str, pen: Pen, format_ratio: Callable[[Change], str]
) -> list[str]:
    """All figures if one of them changes, otherwise nothing."""
    if all(each.ratio == 1 for each in changes):
        return []
    rows = [
        (each.name, pen.format(each.before), pen.format(each.after), format_ratio(each)) for each in changes
    ]
    return [*pen.draw_title(title, more), *pen.draw_table(("", "before", "after", "change"), rows, "<>>>")]


def format_optional_change(change: Change) -> str:
    """As `format_change`, but a plan without the figure has none of these bytes: `new` or `gone`."""
    if change.before is None:
        return "new"
    return "gone" if change.after is None else format_change(change)


def format_change(change: Change) -> str:
    """`+12.5%`, or `x 3.2` from twice the figure on; `-` if there is no ratio."""
    if change.ratio is None:
        return "-"
    if change.ratio == 1:
        return "="
    if abs(change.ratio - 1) < MIN_CHANGE:
        return f"< {MIN_CHANGE:.1%}"
    return f"x {change.ratio:.3g}" if change.ratio >= 2 else f"{change.ratio - 1:+.1%}"
