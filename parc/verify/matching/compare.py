"""Compares the operations that ranks issue with those of their roles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from parc.plan.blocks import Plan
from parc.trace.ops import IssuedOp, Role
from parc.verify.matching.record_rank import FailedStep, RecordedOps, StepResult
from parc.verify.report import format_ranks
from parc.verify.source_lines import ProgramFrame

AHEAD = 3  # operations that must agree again where one is missing or extra


@dataclass(frozen=True)
class OpDifference:
    """The first operation of a rank that is not the derived one."""

    role: str
    number: int
    what: str
    details: tuple[str, ...]
    frames: tuple[ProgramFrame, ...]  # of the program, innermost first


Departure: TypeAlias = OpDifference | FailedStep


def find_departures(
    plan: Plan, roles: Sequence[Role], results: Mapping[int, StepResult]
) -> dict[Departure, list[int]]:
    """How recorded ranks depart from their `roles`; each departure with all ranks that show it."""
    departures: dict[Departure, list[int]] = defaultdict(list)
    for rank, result in results.items():
        if isinstance(result, RecordedOps):
            if difference := _compare(roles[find_role(plan, rank)], result):
                departures[difference].append(rank)
        elif not result.unsupported:
            departures[result].append(rank)
    return departures


def describe_departure(departure: Departure, ranks: Sequence[int]) -> str:
    """A departure in one line."""
    where = format_ranks(ranks)
    if isinstance(departure, FailedStep):
        return f"the program does not come to the end of a step on {where}: {departure.reason}"
    return f"{departure.what} on {where}: operation {departure.number} of {departure.role}"


def find_role(plan: Plan, rank: int) -> int:
    """The number of a rank's role: its place in the pipeline."""
    return plan.mesh.index(rank, plan.list_axes("pipeline"))


def _compare(derived: Role, recorded: RecordedOps) -> OpDifference | None:
    mine, theirs = derived.issued, recorded.issued
    number = 0
    while number < min(len(mine), len(theirs)) and mine[number].matches(theirs[number]):
        number += 1
    if number == len(mine) == len(theirs):
        return None
    details = (f"derived: {_describe_op(mine, number)}", f"recorded: {_describe_op(theirs, number)}")
    frames = recorded.frames[number] if number < len(theirs) else ()
    return OpDifference(derived.name, number, _classify(mine[number:], theirs[number:]), details, frames)


def _describe_op(issued: Sequence[IssuedOp], number: int) -> str:
    if number == len(issued):
        return "the end of the step"
    each = issued[number]
    batch = "" if each.batch is None else f", in one batch from operation {each.batch} on"
    return f"{each}{batch}, awaited before operation {each.awaited_before}"


def _classify(mine: Sequence[IssuedOp], theirs: Sequence[IssuedOp]) -> str:
    """One operation is missing or extra where the next ones agree again; else it is another one."""
    if not theirs or (len(mine) > 1 and _agree(mine[1:], theirs)):
        return "an operation is missing"
    if not mine or (len(theirs) > 1 and _agree(mine, theirs[1:])):
        return "an operation is added"
    if mine[0].op.matches(theirs[0].op):
        return "an operation is awaited elsewhere"
    return "another operation is issued"


def _agree(mine: Sequence[IssuedOp], theirs: Sequence[IssuedOp]) -> bool:
    pairs = zip(mine[:AHEAD], theirs[:AHEAD], strict=False)
    return all(one.op.matches(other.op) for one, other in pairs)
