"""The simulated step in the Trace TimedPass Format of Chromium, which Perfetto opens.

A process is a rank of the pipeline. Passes, gradient sums, the optimizer and the rest are complete events
("X") with times in microseconds. Sends between stages are flows from the end of a pass to the beginning of
the pass that waits for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from parc.report.overview import Overview
from parc.report.step import Timeline

NAMES = {
    "forward": "forward",
    "backward": "backward",
    "inputs": "backward, inputs",
    "weights": "backward, parameters",
}
MICRO = 1e6
LATE = 0.999  # start of a flow within its pass: viewers ignore flows at the very end


def render_trace(overview: Overview) -> str | None:
    """The trace as JSON; None if the time of the step is unknown."""
    if overview.step is None or overview.step.time is None or overview.step.timeline is None:
        return None
    line, time = overview.step.timeline, overview.step.time
    about = {"plan": overview.plan.name, "seconds": time.value, "grade": time.grade}
    events = [*_list_names(line), *_list_passes(line), *_list_tails(line, time.value), *_list_flows(line)]
    return json.dumps({"displayTimeUnit": "ms", "otherData": about, "traceEvents": events}) + "\n"


def _list_names(line: Timeline) -> Iterator[dict[str, Any]]:
    for rank in range(line.ranks):
        for name, args in (
            ("process_name", {"name": f"stage {rank}"}),
            ("process_sort_index", {"sort_index": rank}),
            ("thread_name", {"name": "one rank"}),
        ):
            yield {"ph": "M", "name": name, "pid": rank, "tid": 0, "args": args}


def _build_slice(
    name: str, category: str, rank: int, begin: float, end: float, **args: int
) -> dict[str, Any]:
    times = {"ts": begin * MICRO, "dur": (end - begin) * MICRO}
    return {"ph": "X", "name": name, "cat": category, "pid": rank, "tid": 0, **times, "args": args}


def _list_passes(line: Timeline) -> Iterator[dict[str, Any]]:
    for each in line.events:
        kind = each.kind
        name = f"{NAMES[kind]} {each.microbatch}"
        about = {"stage": each.stage, "microbatch": each.microbatch}
        yield _build_slice(name, kind, each.rank, each.begin, each.end, **about)


def _list_tails(line: Timeline, seconds: float) -> Iterator[dict[str, Any]]:
    updated = line.ready + max(tail.update for tail in line.tails)
    for rank, tail in enumerate(line.tails):
        if tail.sums:
            yield _build_slice("sum gradients", "gradients", rank, tail.begin, tail.begin + tail.sums)
        yield _build_slice("optimizer", "optimizer", rank, line.ready, line.ready + tail.update)
        yield _build_slice("rest of the step", "rest", rank, updated, seconds)


def _list_flows(line: Timeline) -> Iterator[dict[str, Any]]:
    """Activations to the next stage, and their gradients back."""
    passes = [each for each in line.events if each.kind != "weights"]  # they send nothing
    found = {(each.kind != "forward", each.stage, each.microbatch): each for each in passes}
    for number, ((backward, stage, microbatch), sent) in enumerate(found.items()):
        got = found.get((backward, stage + (-1 if backward else 1), microbatch))
        if got is None or got.rank == sent.rank:
            continue
        name = "gradients of activations" if backward else "activations"
        about = {"name": name, "cat": "send", "id": number, "tid": 0}
        yield {
            "ph": "s",
            "pid": sent.rank,
            "ts": (sent.begin + (sent.end - sent.begin) * LATE) * MICRO,
            **about,
        }
        yield {"ph": "f", "bp": "e", "pid": got.rank, "ts": got.begin * MICRO, **about}
