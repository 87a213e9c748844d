"""What `parc check` says of a schedule is what PyTorch's own class says of it when it is made."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch.distributed.pipelining import schedules

from parc.check.detection import detect_faults
from parc.check.load import load_text
from parc.plan.mesh import Axis, Mesh
from parc.source import Source
from tests.runtime.stages import first_ranks

PLAN = """
cluster box { levels = [node: 4] }
model m { source = "m.py:M", shape { layers = 64, experts = 0 } }
train t { model = m, batch { sequences = 64, length = 8, microbatches = 8 } }
plan p for t on box { mesh = [pp: 4], pipeline over [pp] }
"""
CLASSES = {
    "gpipe": (schedules.ScheduleGPipe, schedules.ScheduleLoopedBFS),  # of one chunk a rank, of several
    "1f1b": (schedules.Schedule1F1B, schedules.ScheduleInterleaved1F1B),
    "interleaved": (schedules.ScheduleInterleaved1F1B,) * 2,
    "zero_bubble": (schedules.ScheduleInterleavedZeroBubble,) * 2,
    "zbv": (schedules.ScheduleZBVZeroBubble,) * 2,
    "dualpipev": (schedules.ScheduleDualPipeV,) * 2,
}
REFUSALS = {"P214", "P227", "P229"}


def refused_by_torch(schedule: str, ranks: int, chunks: int, microbatches: int) -> bool:
    """Of rank 0, with stages that hold nothing: these classes ask for no more before they run."""
    kind = CLASSES[schedule][chunks > 1]
    stages = first_ranks(ranks, chunks)
    single = issubclass(kind, schedules.PipelineScheduleSingle)
    try:
        kind(stages[0] if single else stages, microbatches)  # type: ignore[arg-type]  # stand-ins for stages
    except ValueError:
        return True
    return False


@pytest.mark.parametrize("schedule", CLASSES)
def test_a_plan_is_refused_where_torch_would_refuse_it(schedule: str) -> None:
    (plan,) = load_text(Source("plan.parc", PLAN)).plans
    assert plan.pipeline
    for ranks in (1, 2, 3, 4, 6):
        for chunks in (1, 2, 3):
            for microbatches in range(1, 20):
                batch = replace(plan.train.batch, microbatches=microbatches)
                tried = replace(
                    plan,
                    mesh=Mesh((Axis("pp", ranks),)),
                    train=replace(plan.train, batch=batch),
                    pipeline=replace(plan.pipeline, schedule=schedule, chunks=chunks),
                )
                found = [each.rule.code for each in detect_faults(tried, REFUSALS)]
                truth = refused_by_torch(schedule, ranks, chunks, microbatches)
                assert bool(found) == truth, (ranks, chunks, microbatches, found)
