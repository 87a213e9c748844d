"""The fold over a program's events against the program: what its ranks hold, and what they send."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import pytest

from parc.cost.program import ProgramTransfer, count_buffer_bytes, derive_program_traffic
from parc.cost.program import count_program_states as folded
from parc.emit.program import files
from parc.emit.write import write
from parc.trace.ops import IssuedOp
from parc.verify.matching.record_rank import RecordedOps
from parc.verify.matching.record_ranks import record_ranks
from tests.cost.programs import Compiled, drawn, fixed, held
from tests.verify.test_equality import LAYOUTS

Bytes = Counter[tuple[str, str]]
VOTE = "torch.int32"  # of what the stages tell each other in their first step alone


def by_axis(sent: Iterable[ProgramTransfer]) -> Bytes:
    found: Bytes = Counter()
    for each in sent:
        found[each.kind, each.axis] += each.total
    return found


def recorded(issues: Iterable[IssuedOp], sizes: dict[str, int]) -> Bytes:
    found: Bytes = Counter()
    for each in issues:
        if each.op.kind != "recv" and each.op.dtype != VOTE:
            found[each.op.kind, each.op.axis] += count_buffer_bytes(each.op, sizes)
    return found


def stage_of(of: Compiled, rank: int) -> int:
    pipeline = of.plan.pipeline
    return of.plan.mesh.coordinates(rank)[pipeline.axes[0]] if pipeline else 0


def agrees(of: Compiled, folder: Path) -> None:
    """Every rank that is looked at holds and sends what the fold says."""
    write(files(of.plan, of.program, {}), folder)
    mesh, sizes = of.plan.mesh, {axis.name: axis.size for axis in of.plan.mesh.axes}
    ranks = sorted({0, mesh.size // 2, mesh.size - 1})
    for rank, found in record_ranks(folder, mesh, ranks, timeout=60.0).items():
        stage = stage_of(of, rank)
        assert held(folder, mesh.size, rank) == folded(of.plan, of.program.stages[stage])
        if isinstance(found, RecordedOps):
            # Without data routing is even, so that what is expected is what is sent.
            assert recorded(found.issued, sizes) == by_axis(
                derive_program_traffic(of.plan, of.program)[stage]
            )
        else:  # experts with biases cannot run without data: `tests/cost/test_exact.py` is what is left
            assert found.unsupported, found
            assert of.plan.train.model.name == "classic"


CASES = [(model, layout) for model in ("moe", "classic") for layout in LAYOUTS]
QUICK = [("moe", "experts split, sequence"), ("moe", "everything"), ("classic", "everything")]


@pytest.mark.parametrize(("model", "layout"), QUICK)
def test_a_program_holds_and_sends_what_its_events_say(model: str, layout: str, tmp_path: Path) -> None:
    agrees(fixed(model, layout), tmp_path / "program")


@pytest.mark.slow
@pytest.mark.parametrize(("model", "layout"), [case for case in CASES if case not in QUICK])
def test_so_do_the_others_of_the_suite(model: str, layout: str, tmp_path: Path) -> None:
    agrees(fixed(model, layout), tmp_path / "program")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["moe", "classic"])
def test_so_do_plans_drawn_at_random(model: str, tmp_path: Path) -> None:
    """In the mean of a stage's ranks: rows that experts cannot share evenly go to the first of them."""
    for number, of in enumerate(drawn(model, 5, 8)):
        folder, mesh = tmp_path / str(number), of.plan.mesh
        write(files(of.plan, of.program, {}), folder)
        sizes = {axis.name: axis.size for axis in mesh.axes}
        found: dict[int, Bytes] = defaultdict(Counter)
        wanted: dict[int, Bytes] = defaultdict(Counter)
        for rank, each in record_ranks(folder, mesh, list(range(mesh.size)), timeout=60.0).items():
            stage = stage_of(of, rank)
            assert isinstance(each, RecordedOps), each
            found[stage] += recorded(each.issued, sizes)
            wanted[stage] += by_axis(derive_program_traffic(of.plan, of.program)[stage])
        assert found == wanted


def test_of_differing_routing_the_mean_is_told() -> None:
    """4 sequences of 6 tokens, 2 choices each, 16 numbers of 8 bytes: dispatched there and back."""
    of = fixed("moe", "experts with data")
    routed = [each for each in derive_program_traffic(of.plan, of.program)[0] if each.routed]
    assert len(routed) == 4
    assert {each.bytes for each in routed} == {2 * 6 * 2 * 16 * 8}
    assert {each.calls for each in routed} == {2 * 2}
