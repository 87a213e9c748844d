"""The data for the scripts of the page: the overview, and the timeline reduced to what can be drawn."""

from __future__ import annotations

from typing import Any

from parc.cost.schedule.timeline import TimedPass
from parc.report.groups import list_strategies
from parc.report.overview import Overview
from parc.report.serialize import serialize_overview
from parc.report.step import Timeline

MAX_PASSES = 6000  # drawn individually; more are drawn as shares of slices of time
MAX_ROWS = 48  # ranks of the pipeline; if there are more, evenly chosen ones
PAINTED = {"forward": 0, "backward": 1, "inputs": 1, "weights": 2}  # the numbers of the kinds in `line.js`
MAX_SLICES = 6000  # in all rows


def build_page_data(overview: Overview) -> dict[str, Any]:
    plan = overview.plan
    over = {each.key: list(each.axes) for each in list_strategies(plan)}
    whole = serialize_overview(overview)
    for each in (each for stage in whole["traffic"] for each in stage):
        each["sent"]["parts"] = []  # the list of derivations on the page has them
    return whole | {
        "pipeline": list(plan.pipeline.axes) if plan.pipeline else [],
        "over": {"experts": over.get("experts", [])},
        "timeline": _convert_timeline(overview.step.timeline)
        if overview.step and overview.step.timeline
        else None,
    }


def _convert_timeline(line: Timeline) -> dict[str, Any]:
    rows = list(range(line.ranks))
    if line.ranks > MAX_ROWS:
        rows = sorted({round(at * (line.ranks - 1) / (MAX_ROWS - 1)) for at in range(MAX_ROWS)})
    drawn = set(rows)
    events = [each for each in line.events if each.rank in drawn]
    found: dict[str, Any] = {
        "rows": rows,
        "end": line.end,
        "ready": line.ready,
        "seconds": line.seconds,
        "tails": [[each.begin, each.sums, each.update] for each in line.tails],
        "events": [],
        "bins": 0,
    }
    if len(events) <= MAX_PASSES:
        found["events"] = [
            [each.rank, PAINTED[each.kind], each.stage, each.microbatch, each.begin, each.end]
            for each in events
        ]
        return found
    bins = max(MAX_SLICES // len(rows), 60)
    return found | {"bins": bins, "shares": _compute_shares(events, rows, line.end, bins)}


def _compute_shares(events: list[TimedPass], rows: list[int], end: float, bins: int) -> list[list[list[int]]]:
    """For each rank and slice of time, the percentages in forward and in backward passes."""
    place = {rank: row for row, rank in enumerate(rows)}
    step = end / bins
    spent = [[[0.0, 0.0] for _ in range(bins)] for _ in rows]
    for each in events:
        row = spent[place[each.rank]]
        first, last = int(each.begin / step), min(int(each.end / step), bins - 1)
        for at in range(first, last + 1):
            share = min(each.end, (at + 1) * step) - max(each.begin, at * step)
            row[at][each.kind != "forward"] += max(share, 0.0)
    return [[[round(100 * spent / step) for spent in slice] for slice in row] for row in spent]
