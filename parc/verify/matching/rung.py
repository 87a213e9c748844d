"""The rung `matching`: the operations of the real plan match, and the program issues exactly them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from parc.emit.program import emit
from parc.ir.program import Program
from parc.plan.blocks import Plan
from parc.trace.derive import build_role, derive_roles
from parc.trace.match import match
from parc.trace.ops import Role
from parc.verify.matching.compare import describe_departure, find_departures, find_role
from parc.verify.matching.record_rank import FailedStep, RecordedOps, StepResult
from parc.verify.matching.record_ranks import record_ranks
from parc.verify.report import Rung, RungFinding
from parc.verify.source_lines import find_edit, select_frames

ALL_RANKS = 16  # of plans up to this size every rank is recorded
DRAWN = 4  # ranks drawn besides those that are recorded in any case
FINDINGS = 4  # that are reported


def prove_matching(plan: Plan, program: Program, folder: Path, *, seed: int, timeout: float) -> Rung:
    """Matches the derived operations of all ranks, then records ranks of `folder`, which may be edited.

    `seed` draws the ranks of a large plan. `timeout` is that of recording one rank, in seconds.
    """
    if faults := match(derive_roles(plan, program, steps=(0, 1))):
        findings = [
            RungFinding(f"the plan's own operations: {each.message}", each.details) for each in faults
        ]
        return Rung("matching", "refuted", (), tuple(findings))
    compared = _describe_match(plan, derive_roles(plan, program))
    results = record_ranks(folder, plan.mesh, choose_ranks(plan, seed), timeout)
    if findings := list(_find_faults(plan, program, folder, results)):
        return Rung("matching", "refuted", (compared,), tuple(findings))
    failed = {each.reason for each in results.values() if isinstance(each, FailedStep)}
    if failed:
        reasons = (f"a rank could not be recorded: {reason}" for reason in sorted(failed))
        return Rung("matching", "not provable", (compared, *reasons))
    return Rung("matching", "proved", (compared, _describe_records(plan, results)))


def choose_ranks(plan: Plan, seed: int) -> list[int]:
    """The ranks to record: all of a small plan.

    Of a large one the first and the last of each role, or one of each where there are many roles, and some
    that are drawn.
    """
    mesh = plan.mesh
    if mesh.size <= ALL_RANKS:
        return list(range(mesh.size))
    pairs = list_role_ends(plan)
    ends = [pair[role % 2] for role, pair in enumerate(pairs)]
    if 2 * len(pairs) <= ALL_RANKS:
        ends = [rank for pair in pairs for rank in pair]
    drawn = random.Random(seed).sample(range(mesh.size), DRAWN)
    return list(dict.fromkeys([*ends, *drawn]))


def list_role_ends(plan: Plan) -> list[tuple[int, int]]:
    """The first and the last rank of each role."""
    mesh, staged = plan.mesh, plan.list_axes("pipeline")
    others = mesh.group(0, [axis for axis in mesh.names if axis not in staged])
    return [(first, first + others[-1]) for first in mesh.group(0, staged)]


def _describe_match(plan: Plan, roles: Sequence[Role]) -> str:
    counts = sorted({len(role.issued) for role in roles})
    each = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    names = f"{len(roles)} roles" if len(roles) > 1 else "one role"
    ranks = f"{plan.mesh.size:,} ranks in {names}"
    return f"{ranks}, {each} operations a step each: no mismatch, no cycle of waits"


def _describe_records(plan: Plan, results: Mapping[int, StepResult]) -> str:
    total = sum(len(each.issued) for each in results.values() if isinstance(each, RecordedOps))
    ranks = "all" if len(results) == plan.mesh.size else f"{len(results)} of"
    return (
        f"the program issues them: {ranks} {plan.mesh.size:,} ranks recorded, {total:,} operations alike in "
        "kind, group, shape, type, reduction, order and waits"
    )


def _find_faults(
    plan: Plan, program: Program, folder: Path, results: Mapping[int, StepResult]
) -> Iterator[RungFinding]:
    """How the program in `folder` departs from its roles in step 0."""
    roles = derive_roles(plan, program, steps=(0,))
    departures = find_departures(plan, roles, results)
    if not departures:
        return
    edit = find_edit(emit(plan, program, {}), folder)
    consequence = _describe_consequence(plan, roles, results)
    for departure, ranks in islice(departures.items(), FINDINGS):
        frames = select_frames(departure.frames)
        origin = frames[0] if frames else edit
        details = [f"from {file}:{line}" for file, line in frames] + consequence
        if not isinstance(departure, FailedStep):
            origin = edit if edit[0] else origin
            details = [*departure.details, *details]
        if edit[0] and origin != edit:
            details.append(f"the first line that differs from what was emitted: {edit[0]}:{edit[1]}")
        yield RungFinding(describe_departure(departure, ranks), tuple(details), *origin)
        consequence = []  # once is enough


def _describe_consequence(plan: Plan, roles: Sequence[Role], results: Mapping[int, StepResult]) -> list[str]:
    """Whether the operations that the ranks issue still fit together."""
    by_role: dict[int, tuple[int, RecordedOps]] = {}
    for rank, result in results.items():
        if isinstance(result, RecordedOps):
            other, before = by_role.setdefault(find_role(plan, rank), (rank, result))
            if result.issued != before.issued:
                return [f"ranks {other} and {rank} have one role, and do not issue the same"]
    if len(by_role) < len(roles):
        return []
    recorded = [build_role(plan, number, by_role[number][1].issued) for number in range(len(roles))]
    if faults := match(recorded):
        return [f"so {faults[0].message}", *faults[0].details]
    return ["the operations that the recorded ranks issue still fit together"]
