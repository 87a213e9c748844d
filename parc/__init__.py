"""A compiler for parallelism plans of Mixture-of-Experts training.

From Python, without torch and without running the user's code: `load` and `check` read plans and tell their
faults, `figure` and `judge` say what a plan costs and which of its claims hold. docs/api.md shows them at
work. All values are in SI units: bytes, seconds, FLOP, and their quotients; a share is a number up to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

# The package of the rules is loaded before the function below takes its name, or it would take it back later.
import parc.check  # noqa: F401

if TYPE_CHECKING:
    from os import PathLike

    from parc.check.claims.verdict import Verdict
    from parc.check.load import Loaded
    from parc.cost.figure import Figure
    from parc.diagnostic import Diagnostic
    from parc.plan.blocks import Plan

__all__ = ["check", "figure", "judge", "load"]


def load(path: str | PathLike[str], overrides: Sequence[str] = ()) -> Loaded:
    """The plans of a file and its diagnostics; `overrides` as in `--set`: `first.batch.microbatches=64`."""
    from pathlib import Path

    from parc.check.load import load

    return load(Path(path), overrides)


def check(text: str, path: str = "plan.parc") -> tuple[Diagnostic, ...]:
    """Everything there is to say about the text of a plan file; imports are looked for beside `path`."""
    from parc.check.load import load_text
    from parc.source import Source

    return load_text(Source(path, text)).diagnostics


def figure(plan: Plan, subject: str) -> Figure:
    """What a plan costs, by the name that a claim of `expect` gives it: `memory.peak`, in bytes.

    Raises:
        ValueError: there is no such subject, or the plan does not say enough for it; the message says which.
    """
    from parc.check.claims.figures import derive_figure
    from parc.check.costs import Unknown
    from parc.check.detection import price
    from parc.plan import subjects

    if subjects.find_subject(subject, [level.name for level in plan.cluster.levels]) is None:
        raise ValueError(f"there is no figure `{subject}`")
    try:
        return derive_figure(price(plan), subject)
    except Unknown as reason:
        raise ValueError(f"`{subject}`: {reason}") from None


def judge(plan: Plan) -> tuple[Verdict, ...]:
    """Whether each claim of a plan's `expect` holds, in their order."""
    from parc.check.claims.verdict import judge
    from parc.check.detection import price

    return judge(price(plan))
