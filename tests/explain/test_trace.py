"""`parc explain --trace`: valid by the Trace Event Format, and as long as the step."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from parc import cli
from parc.render.perfetto import render_trace
from tests.explain.plans import DEVICE, build_small, explain_text

NANO = 1e-3  # microseconds: what rounding of times may add


def trace_text(text: str) -> dict[str, Any]:
    told = render_trace(explain_text(text))
    assert told is not None
    found: dict[str, Any] = json.loads(told)
    return found


@pytest.fixture(params=["gpipe", "1f1b"])
def found(request: pytest.FixtureRequest) -> dict[str, Any]:
    return trace_text(build_small(DEVICE, request.param))


def select_phase(found: dict[str, Any], phase: str) -> list[dict[str, Any]]:
    return [each for each in found["traceEvents"] if each["ph"] == phase]


def test_every_event_has_what_the_format_asks_for(found: dict[str, Any]) -> None:
    assert found["displayTimeUnit"] == "ms"
    needed = {
        "M": {"name", "pid", "args"},
        "X": {"name", "cat", "pid", "tid", "ts", "dur"},
        "s": {"name", "cat", "id", "pid", "tid", "ts"},
        "f": {"name", "cat", "id", "pid", "tid", "ts", "bp"},
    }
    for each in found["traceEvents"]:
        assert needed[each["ph"]] <= set(each)
        assert all(each.get(time, 0) >= 0 for time in ("ts", "dur"))


def test_a_process_is_a_stage(found: dict[str, Any]) -> None:
    names = {
        each["pid"]: each["args"]["name"]
        for each in select_phase(found, "M")
        if each["name"] == "process_name"
    }
    assert names == {0: "stage 0", 1: "stage 1"}


def test_slices_of_a_process_never_overlap(found: dict[str, Any]) -> None:
    for pid in (0, 1):
        slices = sorted(
            (each["ts"], each["ts"] + each["dur"]) for each in select_phase(found, "X") if each["pid"] == pid
        )
        for (_, end), (begin, _) in itertools.pairwise(slices):
            assert begin >= end - NANO


def test_each_stage_makes_every_pass_then_sums_and_updates(found: dict[str, Any]) -> None:
    """Two stages, four microbatches; both hold parameters that other data ranks hold too."""
    kinds = Counter((each["pid"], each["cat"]) for each in select_phase(found, "X"))
    tail = {"gradients": 1, "optimizer": 1, "rest": 1}
    for pid in (0, 1):
        assert {cat: kinds[pid, cat] for cat in ("forward", "backward", *tail)} == {
            "forward": 4,
            "backward": 4,
            **tail,
        }


def test_it_ends_when_the_step_does(found: dict[str, Any]) -> None:
    step = explain_text(build_small(DEVICE)).step
    assert step is not None
    assert step.time is not None
    ends = [each["ts"] + each["dur"] for each in select_phase(found, "X")]
    assert max(ends) == pytest.approx(found["otherData"]["seconds"] * 1e6, abs=NANO)
    gpipe = trace_text(build_small(DEVICE, "gpipe"))
    assert gpipe["otherData"]["seconds"] == step.time.value


def test_flows_join_what_is_sent_to_what_waits_for_it(found: dict[str, Any]) -> None:
    """Four microbatches there, and four gradients back: from pass to pass."""
    starts = {each["id"]: each for each in select_phase(found, "s")}
    ends = {each["id"]: each for each in select_phase(found, "f")}
    assert set(starts) == set(ends)
    names = Counter((each["name"], each["pid"]) for each in starts.values())
    assert names == {("activations", 0): 4, ("gradients of activations", 1): 4}
    slices = select_phase(found, "X")
    for id, start in starts.items():
        end = ends[id]
        inside = [
            each
            for each in slices
            if each["pid"] == start["pid"] and each["ts"] <= start["ts"] <= each["ts"] + each["dur"]
        ]
        begun = [each for each in slices if each["pid"] == end["pid"] and abs(each["ts"] - end["ts"]) < NANO]
        assert inside[0]["args"]["microbatch"] == begun[0]["args"]["microbatch"]
        assert end["ts"] >= start["ts"]


def test_a_rank_sends_nothing_to_itself() -> None:
    """Two chunks on the one rank of a pipeline."""
    text = (
        build_small(DEVICE, "interleaved")
        .replace("pp: 2", "pp: 1")
        .replace("{ schedule", "{ chunks = 2, schedule")
    )
    found = trace_text(text.replace("[fabric: 2, node: 4]", "[fabric: 2, node: 2]"))
    assert len([each for each in select_phase(found, "X") if each["cat"] == "forward"]) == 2 * 4
    assert select_phase(found, "s") == select_phase(found, "f") == []


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "small.parc", tmp_path / "step.json"
    file.write_text(build_small(DEVICE))
    assert cli.main(["explain", str(file), "--trace", str(out)]) == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    assert json.loads(out.read_text())["traceEvents"]
    file.write_text(build_small())
    assert cli.main(["explain", str(file), "--trace", str(out)]) == 1
    told = capsys.readouterr().out
    assert told.startswith("error[P640]: the time of a step is unknown")
    assert "add in cluster pair" in told
