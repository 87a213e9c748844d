"""A plan changes where things run, never what is computed.

Every program is emitted to a folder and run under real gloo processes for 3 optimizer steps, in float64:
its losses, gradient norm, and every gradient and parameter on every rank equal those of the model itself.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from parc.capture.capture import Captured, capture
from parc.check.load import load
from parc.plan.blocks import Plan
from parc.verify.sample.sample import compile_sample
from tests.verify.plans import RUN
from tests.verify.sample_runs import find_worst

PLANS = [(file.stem, plan) for file in RUN for plan in load(file).plans]
SLOW = {
    *(("interleaved", name) for name in ("breadth_first", "data", "tensor", "experts")),
    *(("split-backward", name) for name in ("zero_bubble", "zero_bubble_of_chunks", "dualpipev_experts")),
    ("split-backward", "zbv_everything"),
    *(("sharded-schedules", name) for name in ("chunks", "zero_bubble", "gathered_breadth")),
    *(("experts-over-several-axes", name) for name in ("moe", "replicated_outside")),
    *(("tensor-over-several-axes", name) for name in ("experts_over_both", "experts_over_one")),
    *(("tensor-over-several-axes", name) for name in ("around_data", "split_over_both")),
    *(("experts-split-elsewhere", name) for name in ("moe", "beside_tensor", "with_tensor")),
    ("pipeline-over-several-axes", "four_stages"),
    *(("capacity", name) for name in ("one_device", "data", "local", "folded")),
    *(("sharded-over-a-part", name) for name in ("gradients", "optimizer")),
    ("parameters-sharded-beside-layers", "gradients"),
    *(("balance-of-each-rank", name) for name in ("data", "everything")),
    *(("idle-experts", name) for name in ("data", "split", "shared_updates")),
    ("loop-in-block", "loops"),
}
captured: dict[tuple[str, str], Captured] = {}


def capture_once(plan: Plan) -> Captured:
    """No layout changes what is captured, so that all plans of a training run share it."""
    run = plan.train.span.source.path, plan.train.name
    if run not in captured:
        captured[run] = capture(plan)
    return captured[run]


def mark_slow(file: str, plan: Plan) -> list[pytest.MarkDecorator]:
    """Of the second model all but the layouts that have everything are among the slow tests, and of the
    schedules most of what others have in part."""
    slow = (plan.name == "classic" and "everything" not in file) or (file, plan.name) in SLOW
    return [pytest.mark.slow] if slow else []


@pytest.mark.parametrize(
    "plan",
    [pytest.param(plan, id=f"{file}-{plan.name}", marks=mark_slow(file, plan)) for file, plan in PLANS],
)
def test_a_plan_changes_nothing_that_is_computed(plan: Plan, tmp_path: Path) -> None:
    worst = find_worst(compile_sample(plan, captured=capture_once(plan)), tmp_path / "program")
    assert worst.used < 1, worst


def test_every_file_has_a_plan() -> None:
    assert {file.stem for file in RUN} == {file for file, _ in PLANS}
