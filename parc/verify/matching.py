"""The first rung: what every rank of the real plan sends, matched, and held against what the program issues."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from parc.emit.program import files
from parc.events import Program
from parc.plan.facts import Plan
from parc.trace.derive import derive, role
from parc.trace.match import match, said
from parc.trace.ops import Issue, Role, joined
from parc.verify.recorder import Ended, Recorded, Result, record
from parc.verify.report import Finding, Rung
from parc.verify.shares import compressed
from parc.verify.told import edited

FEW = 16  # ranks of a plan that is recorded whole
DRAWN = 4  # ranks drawn besides those that are sure to be recorded
AHEAD = 8  # operations that must go on alike where one is left out or put in


def matching(plan: Plan, program: Program, folder: Path, *, seed: int, timeout: float) -> Rung:
    """Matches the derived operations of all ranks, then records some in `folder`, which may be edited.

    `timeout` is of one rank's recording, in seconds.
    """
    start = perf_counter()
    first, later = derive(plan, program, first=True), derive(plan, program)
    compared, findings = _matched(plan, first, later)
    unknown: list[str] = []
    if not findings:
        results = record(folder, plan.mesh, chosen(plan, seed), timeout)
        unknown = sorted({f"no verdict: {r.reason}" for r in results.values() if _limited(r)})
        findings = list(_issued(plan, program, folder, first, results))
        compared += [] if findings or unknown else [_said_of(plan, results)]
    verdict = "refuted" if findings else "not provable" if unknown else "proved"
    return Rung("matching", verdict, (*compared, *unknown), tuple(findings), perf_counter() - start)


def chosen(plan: Plan, seed: int) -> list[int]:
    """All ranks of a small plan; else of each stage its first and its last, or one where there are many
    stages, and a few more."""
    mesh, pipeline = plan.mesh, plan.pipeline.axes[0] if plan.pipeline else None
    if mesh.size <= FEW:
        return list(range(mesh.size))
    stages = mesh.axis(pipeline).size if pipeline else 1
    last = {axis.name: axis.size - 1 for axis in mesh.axes}
    found = []
    for stage in range(stages):
        at = {pipeline: stage} if pipeline else {}
        ends = [mesh.rank(at), mesh.rank({**last, **at})]
        found += ends if 2 * stages <= FEW else [ends[stage % 2]]
    drawn = random.Random(seed).sample(range(mesh.size), DRAWN)
    return list(dict.fromkeys([*found, *drawn]))


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
class _Apart:
    """Where a rank's operations leave those that were derived."""

    stage: int
    number: int
    what: str
    derived: str
    recorded: str
    frames: tuple[tuple[str, int], ...]


def _issued(
    plan: Plan, program: Program, folder: Path, roles: Sequence[Role], results: Mapping[int, Result]
) -> Iterator[Finding]:
    """What the program does otherwise, each with all ranks that do it."""
    pipeline = plan.pipeline.axes[0] if plan.pipeline else None
    apart: dict[_Apart | Ended, list[int]] = defaultdict(list)
    for rank, result in results.items():
        stage = plan.mesh.coordinates(rank)[pipeline] if pipeline else 0
        if isinstance(result, Recorded):
            if found := _difference(stage, roles[stage], result):
                apart[found].append(rank)
        elif not result.limited:
            apart[result].append(rank)
    if not apart:
        return
    file, line = edited(files(plan, program, {}), folder)
    outcome = _outcome(plan, roles, results)
    for found, ranks in apart.items():
        frames = _telling(found.frames)
        message, details = _in_words(found, ranks)
        details += [f"issued at {name}:{number}" for name, number in frames]
        at = frames[0] if frames else (None, None)
        yield Finding(message, (*details, *outcome), file or at[0], line or at[1])


def _in_words(found: _Apart | Ended, ranks: Sequence[int]) -> tuple[str, list[str]]:
    who = f"rank{'s' if len(ranks) > 1 else ''} {compressed(ranks)}"
    if isinstance(found, Ended):
        return f"the program does not come to the end of a step on {who}: {found.reason}", []
    return f"{found.what} on {who}", [f"derived   {found.derived}", f"recorded  {found.recorded}"]


def _telling(frames: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """The innermost frame of a stage, if there is one, and the innermost of all."""
    stage = [frame for frame in frames if not frame[0].startswith("runtime/")]
    return list(dict.fromkeys([*stage[:1], *frames[:1]]))


def _difference(stage: int, derived: Role, recorded: Recorded) -> _Apart | None:
    mine, theirs = derived.issues, recorded.issues
    number = next(
        (n for n, pair in enumerate(zip(mine, theirs)) if not _alike(*pair)), min(len(mine), len(theirs))
    )
    if number == len(mine) == len(theirs):
        return None
    it = replace(derived, name="it", issues=theirs)
    return _Apart(
        stage,
        number,
        _what(mine[number:], theirs[number:]),
        said(derived, number) if number < len(mine) else "the end of the step",
        said(it, number) if number < len(theirs) else "the end of the step",
        recorded.frames[number] if number < len(theirs) else (),
    )


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
    pairs = zip(mine[:AHEAD], theirs[:AHEAD], strict=False)
    return all(one.op.fits(other.op) for one, other in pairs)


def _alike(one: Issue, other: Issue) -> bool:
    return one.op.fits(other.op) and (one.until, one.batch) == (other.until, other.batch)


def _outcome(plan: Plan, roles: Sequence[Role], results: Mapping[int, Result]) -> list[str]:
    """What comes of it: whether the stages, as one rank of each was recorded, still fit together."""
    pipeline = plan.pipeline.axes[0] if plan.pipeline else None
    by_stage: dict[int, Recorded] = {}
    for rank, result in results.items():
        if isinstance(result, Recorded):
            by_stage.setdefault(plan.mesh.coordinates(rank)[pipeline] if pipeline else 0, result)
    if len(by_stage) < len(roles):
        return []
    faults = match([role(plan, stage, by_stage[stage].issues) for stage in range(len(roles))])
    if not faults:
        return ["what the stages issue still fits together"]
    return [f"so {faults[0].message}", *faults[0].details]


def _limited(result: Result) -> bool:
    return isinstance(result, Ended) and result.limited
