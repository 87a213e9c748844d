"""The fold over a program's events against the program: what its ranks hold, and what they send."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from parc.cost.program import Sent, expected, sent, whole
from parc.cost.program import held as folded
from parc.emit.program import files
from parc.emit.write import write
from parc.trace.ops import Issue
from parc.verify.recorder import record
from parc.verify.rehearsal import Recorded
from tests.cost.programs import Compiled, drawn, fixed, held
from tests.verify.test_equality import LAYOUTS

Bytes = Counter[tuple[str, str]]
VOTE = "torch.int32"  # of what the stages tell each other in their first step alone


def by_axis(sent: Iterable[Sent]) -> Bytes:
    found: Bytes = Counter()
    for each in sent:
        found[each.kind, each.axis] += each.total
    return found


def recorded(issues: Iterable[Issue], sizes: dict[str, int]) -> Bytes:
    found: Bytes = Counter()
    for each in issues:
        if each.op.kind != "recv" and each.op.dtype != VOTE:
            found[each.op.kind, each.op.axis] += whole(each.op, sizes)
    return found


def stage_of(of: Compiled, rank: int) -> int:
    pipeline = of.plan.pipeline
    return of.plan.mesh.coordinates(rank)[pipeline.axes[0]] if pipeline else 0


def agrees(of: Compiled, folder: Path) -> None:
    """Every rank that is looked at holds and sends what the fold says."""
    write(files(of.plan, of.program, {}), folder)
    mesh, sizes = of.plan.mesh, {axis.name: axis.size for axis in of.plan.mesh.axes}
    ranks = sorted({0, mesh.size // 2, mesh.size - 1})
    for rank, found in record(folder, mesh, ranks, timeout=60.0).items():
        assert isinstance(found, Recorded), found
        stage = stage_of(of, rank)
        # Without data routing is even, so that what is expected is what is sent.
        assert recorded(found.issues, sizes) == by_axis(sent(of.plan, of.program)[stage])
        assert held(folder, mesh.size, rank) == folded(of.plan, of.program.stages[stage])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("model", ["moe", "classic"])
def test_a_program_of_the_suite_holds_and_sends_what_its_events_say(
    model: str, layout: str, tmp_path: Path
) -> None:
    agrees(fixed(model, layout), tmp_path / "program")
