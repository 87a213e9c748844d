"""A compiler for parallelism plans of Mixture-of-Experts training.

From Python, without torch and without running the code of the user: `load` and `check` read plans and report
their faults, `compute_figure` and `judge` predict what a plan costs and which of its claims hold. docs/api.md
has examples. All values are in SI units: bytes, seconds, FLOP and their quotients; a share is at most 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import parc.check  # noqa: F401 - before the function `check` takes the name of this package

if TYPE_CHECKING:  # annotations alone
    from os import PathLike

    from parc.check.claims.verdict import Verdict
    from parc.check.load import Loaded
    from parc.cost.figure import Figure
    from parc.diagnostic import Diagnostic
    from parc.plan.blocks import Plan

__all__ = ["check", "compute_figure", "judge", "load"]


def load(path: str | PathLike[str], overrides: Sequence[str] = ()) -> Loaded:
    """The plans of a file and its diagnostics; `overrides` as in `--set`: `first.batch.microbatches=64`."""
    from pathlib import Path  # noqa: PLC0415 - start-up time: every command imports this package

    from parc.check.load import load  # noqa: PLC0415 - start-up time

    return load(Path(path), overrides)


def check(text: str, path: str = "plan.parc") -> tuple[Diagnostic, ...]:
    """All diagnostics of the text of a plan file; its imports are relative to `path`."""
    from parc.check.load import load_text  # noqa: PLC0415 - start-up time
    from parc.source import Source  # noqa: PLC0415 - start-up time

    return load_text(Source(path, text)).diagnostics


def compute_figure(plan: Plan, subject: str) -> Figure:
    """What a plan costs: a figure by its name in claims of `expect`, such as `memory.peak`.

    Raises:
        ValueError: there is no such subject, or the plan lacks values that it needs, which the message names.
    """
    from parc.check.claims.figures import derive_figure  # noqa: PLC0415 - start-up time
    from parc.check.costs import Unknown  # noqa: PLC0415 - start-up time
    from parc.check.detection import price  # noqa: PLC0415 - start-up time
    from parc.plan import subjects  # noqa: PLC0415 - start-up time

    if subjects.find_subject(subject, [level.name for level in plan.cluster.levels]) is None:
        raise ValueError(f"there is no figure `{subject}`")
    try:
        return derive_figure(price(plan), subject)
    except Unknown as reason:
        raise ValueError(f"`{subject}`: {reason}") from None


def judge(plan: Plan) -> tuple[Verdict, ...]:
    """Whether each claim of `expect` holds, in the order of the claims."""
    from parc.check.claims.verdict import judge  # noqa: PLC0415 - start-up time
    from parc.check.detection import price  # noqa: PLC0415 - start-up time

    return judge(price(plan))
