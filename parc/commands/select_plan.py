"""Loads the plan that a command is to explain, and reports what prevents that."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from parc.check.lints import PRICED
from parc.check.load import choose, load
from parc.commands.output import print_found
from parc.commands.status import FAULTS, choose_status
from parc.diagnostic import Diagnostic, Severity, has_errors
from parc.plan.blocks import Plan
from parc.source import Span


class Selection(NamedTuple):
    """A plan, and the warnings and errors about it that do not prevent its explanation."""

    plan: Plan
    remarks: tuple[Diagnostic, ...]


def select_plan(file: Path, name: str | None, options: Namespace) -> Selection | int:
    """The plan `name` of a file, or its only one; the exit code if there is none, with the reason printed."""
    loaded = load(file, options.set, options.allow_outside_imports)
    plan = choose(loaded, name)
    found = loaded.diagnostics + loaded.allowed  # an error that a comment allows prevents an explanation, too
    if isinstance(plan, Plan):
        found = tuple(each for each in found if _concerns(each, plan, loaded.plans))
    if has_errors(each for each in found if each.code not in PRICED):
        print_found(found, options.format)
        return choose_status(found)
    if isinstance(plan, Diagnostic):
        print_found([plan], options.format)
        return FAULTS
    remarks = (each for each in found if each.severity is not Severity.INFO and each not in loaded.allowed)
    return Selection(plan, tuple(remarks))


def _concerns(found: Diagnostic, plan: Plan, plans: Iterable[Plan]) -> bool:
    """Whether a diagnostic is about the plan. Faults of syntax and of names concern all plans of a file."""
    own = _list_blocks(plan)
    others = [block for other in plans for block in _list_blocks(other) if block not in own]
    return found.code < "P2" or not any(
        label.span.overlaps(block) for label in found.labels for block in others
    )


def _list_blocks(plan: Plan) -> list[Span]:
    """The spans of the plan and of the blocks that it refers to."""
    return [each.span for each in (plan, plan.train, plan.train.model, plan.cluster)]
