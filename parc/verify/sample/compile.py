"""A plan compiled to be run here: in a precision of the proof's choice, on its mesh as it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from parc.capture.capture import Captured, capture
from parc.emit.program import Files, files
from parc.ir.program import Program
from parc.lower.program import rewrite
from parc.plan.blocks import Plan

Low: TypeAlias = Literal["fp32", "bf16"]
Compute: TypeAlias = Literal["fp64"] | Low


@dataclass(frozen=True)
class Trial:
    """A plan, its model as it was captured, and its program in memory and as files."""

    plan: Plan
    captured: Captured
    program: Program
    files: Files  # as emitted; the folder that is run may differ from them, and is what is proved


def trial(plan: Plan, compute: Compute = "fp64", captured: Captured | None = None) -> Trial:
    """Compiles `plan` to compute in `compute`; `captured` is its model in that precision, if at hand.

    Raises Faulty where the plan cannot be built.
    """
    plan = computing(plan, compute)
    captured = captured or capture(plan)
    program = rewrite(plan, captured)
    return Trial(plan, captured, program, files(plan, program, {}))


def computing(plan: Plan, compute: Compute) -> Plan:
    """The plan in another precision; whether the language allows it is not asked."""
    master: Literal["fp32", "fp64"] = "fp64" if compute == "fp64" else "fp32"
    precision = replace(plan.train.precision, compute=compute, master=master)
    return replace(plan, train=replace(plan.train, precision=precision))
