"""The first rung: what every rank of the real plan sends is matched, and is what the program issues."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from time import perf_counter

from parc.emit.program import files
from parc.ir.program import Program
from parc.plan.blocks import Plan
from parc.trace.derive import derive, role
from parc.trace.match import described, match
from parc.trace.ops import Issue, Role, joined
from parc.verify.execution.stack_frames import Frame, telling
from parc.verify.matching.record_rank import Ended, Recorded, Result
from parc.verify.matching.record_ranks import record
from parc.verify.numbers.describe_divergence import edited
from parc.verify.numbers.shards import compressed
from parc.verify.report import Finding, Rung, Verdict

FEW = 16  # ranks of a plan that is recorded whole
DRAWN = 4  # ranks drawn besides those that are sure to be recorded
MOST = 4  # differences told
AHEAD = 3  # operations that must go on alike where one is left out or put in


def matching(plan: Plan, program: Program, folder: Path, *, seed: int, timeout: float) -> Rung:
    """Matches the derived operations of all ranks, then records some in `folder`, which may be edited.

    `timeout` is of one rank's recording, in seconds.
    """
    start = perf_counter()
    first, later = derive(plan, program, first=True), derive(plan, program)
    compared, findings = _matched(plan, first, later)
    verdict: Verdict = "refuted" if findings else "proved"
    if not findings:
        results = record(folder, plan.mesh, chosen(plan, seed), timeout)
        findings = list(issued(plan, program, folder, first, results))
        verdict = "refuted" if findings else "not provable" if _unknown(results) else "proved"
        compared += _unknown(results) if verdict == "not provable" else []
        compared += [_said_of(plan, results)] if verdict == "proved" else []
    return Rung("matching", verdict, tuple(compared), tuple(findings), perf_counter() - start)


def chosen(plan: Plan, seed: int) -> list[int]:
    """All ranks of a small plan; else of each stage its first and its last, or one where there are many
    stages, and a few more."""
    mesh = plan.mesh
    if mesh.size <= FEW:
        return list(range(mesh.size))
    pairs = ends(plan)
    found = [pair[stage % 2] for stage, pair in enumerate(pairs)]
    if 2 * len(pairs) <= FEW:
        found = [rank for pair in pairs for rank in pair]
    drawn = random.Random(seed).sample(range(mesh.size), DRAWN)
    return list(dict.fromkeys([*found, *drawn]))


def ends(plan: Plan) -> list[tuple[int, int]]:
    """The first and the last rank of each stage."""
    mesh, pipeline = plan.mesh, plan.pipeline.axes[0] if plan.pipeline else None
    last = {axis.name: axis.size - 1 for axis in mesh.axes}
    stages = [{pipeline: stage} for stage in range(mesh.axis(pipeline).size)] if pipeline else [{}]
    return [(mesh.rank(at), mesh.rank({**last, **at})) for at in stages]


def _matched(plan: Plan, first: Sequence[Role], later: Sequence[Role]) -> tuple[list[str], list[Finding]]:
    """The first step and one after it, as one run."""
    both = [replace(a, issues=joined(a.issues, b.issues)) for a, b in zip(first, later, strict=True)]
    faults = [Finding(f"the plan's own operations: {each.message}", each.details) for each in match(both)]
    counts = sorted({len(each.issues) for each in later})
    each = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    roles = f"{len(later)} roles" if len(later) > 1 else "one role"
    line = (
        f"{plan.mesh.size:,} ranks in {roles}, {each} operations a step each: no mismatch, no cycle of waits"
    )
    return ([] if faults else [line]), faults


def _said_of(plan: Plan, results: Mapping[int, Result]) -> str:
    total = sum(len(each.issues) for each in results.values() if isinstance(each, Recorded))
    whole = "all" if len(results) == plan.mesh.size else f"{len(results)} of"
    return (
        f"the program issues them: {whole} {plan.mesh.size:,} ranks recorded, {total:,} operations alike in "
        "kind, group, shape, type, reduction, order and waits"
    )


@dataclass(frozen=True)
class Apart:
    """Where a rank's operations leave those that were derived."""

    role: str
    number: int
    what: str
    details: tuple[str, ...]
    frames: tuple[Frame, ...]


def departures(
    plan: Plan, roles: Sequence[Role], results: Mapping[int, Result]
) -> dict[Apart | Ended, list[int]]:
    """What a program does otherwise than `roles`, each with all ranks that do it."""
    apart: dict[Apart | Ended, list[int]] = defaultdict(list)
    for rank, result in results.items():
        found = _difference(roles[_stage(plan, rank)], result) if isinstance(result, Recorded) else result
        if found is not None and not (isinstance(found, Ended) and found.limited):
            apart[found].append(rank)
    return apart


def issued(
    plan: Plan, program: Program, folder: Path, roles: Sequence[Role], results: Mapping[int, Result]
) -> Iterator[Finding]:
    """The same in words, of the program in `folder`."""
    apart = departures(plan, roles, results)
    if not apart:
        return
    edit = edited(files(plan, program, {}), folder)
    for count, (found, ranks) in enumerate(islice(apart.items(), MOST)):
        frames = telling(found.frames)
        details = [f"from {file}:{line}" for file, line in frames]
        details += _outcome(plan, roles, results) if count == 0 else []
        if isinstance(found, Ended):
            file, line = frames[0] if frames else edit
        else:
            file, line = edit if edit[0] or not frames else frames[0]
            details = [*found.details, *details]
        if edit[0] and (file, line) != edit:
            details.append(f"the first line that is not as it was written: {edit[0]}:{edit[1]}")
        yield Finding(said(found, ranks), tuple(details), file, line)


def said(found: Apart | Ended, ranks: Sequence[int]) -> str:
    """In a line."""
    if isinstance(found, Ended):
        return f"the program does not come to the end of a step on {_ranks(ranks)}: {found.reason}"
    return f"{found.what} on {_ranks(ranks)}: operation {found.number} of {found.role}"


def _ranks(ranks: Sequence[int]) -> str:
    return f"rank{'s' if len(ranks) > 1 else ''} {compressed(ranks)}"


def _stage(plan: Plan, rank: int) -> int:
    return plan.mesh.coordinates(rank)[plan.pipeline.axes[0]] if plan.pipeline else 0


def _difference(derived: Role, recorded: Recorded) -> Apart | None:
    mine, theirs = derived.issues, recorded.issues
    pairs = enumerate(zip(mine, theirs, strict=False))
    number = next((n for n, pair in pairs if not _alike(*pair)), min(len(mine), len(theirs)))
    if number == len(mine) == len(theirs):
        return None
    details = (f"derived: {_said(mine, number)}", f"recorded: {_said(theirs, number)}")
    frames = recorded.frames[number] if number < len(theirs) else ()
    return Apart(derived.name, number, _what(mine[number:], theirs[number:]), details, frames)


def _said(issues: Sequence[Issue], number: int) -> str:
    if number == len(issues):
        return "the end of the step"
    issue = issues[number]
    how = "" if issue.batch is None else f", in one batch from operation {issue.batch} on"
    return f"{described(issue)}{how}, awaited before operation {issue.until}"


def _what(mine: Sequence[Issue], theirs: Sequence[Issue]) -> str:
    """One operation too few or too many, where the others go on alike; else another one."""
    if not theirs or (len(mine) > 1 and _go_on(mine[1:], theirs)):
        return "an operation is left out"
    if not mine or (len(theirs) > 1 and _go_on(mine, theirs[1:])):
        return "an operation is put in"
    if mine[0].op.fits(theirs[0].op):
        return "an operation is awaited elsewhere"
    return "another operation is issued"


def _go_on(mine: Sequence[Issue], theirs: Sequence[Issue]) -> bool:
    return all(one.op.fits(other.op) for one, other in zip(mine[:AHEAD], theirs[:AHEAD], strict=False))


def _alike(one: Issue, other: Issue) -> bool:
    return one.op.fits(other.op) and (one.until, one.batch) == (other.until, other.batch)


def _outcome(plan: Plan, roles: Sequence[Role], results: Mapping[int, Result]) -> list[str]:
    """What comes of it: whether that which the ranks issue still fits together."""
    by_stage: dict[int, tuple[int, Recorded]] = {}
    for rank, result in results.items():
        if isinstance(result, Recorded):
            other, before = by_stage.setdefault(_stage(plan, rank), (rank, result))
            if result.issues != before.issues:
                return [f"ranks {other} and {rank} are of one stage, and do not issue the same"]
    if len(by_stage) < len(roles):
        return []
    faults = match([role(plan, stage, by_stage[stage][1].issues) for stage in range(len(roles))])
    return (
        [f"so {faults[0].message}", *faults[0].details]
        if faults
        else ["what the recorded ranks issue still fits together"]
    )


def _unknown(results: Mapping[int, Result]) -> list[str]:
    """Why some ranks cannot be recorded."""
    reasons = {each.reason for each in results.values() if isinstance(each, Ended) and each.limited}
    return [f"a rank could not be recorded: {reason}" for reason in sorted(reasons)]
