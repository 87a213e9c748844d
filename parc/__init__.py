"""A compiler for parallelism plans of Mixture-of-Experts training.

`parc.load(path)` and `parc.check(text)` read a plan without torch and without running the user's code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

# The package of the rules is loaded before the function below takes its name, or it would take it back later.
import parc.check  # noqa: F401

if TYPE_CHECKING:
    from os import PathLike

    from parc.check.load import Loaded
    from parc.diagnostic import Diagnostic

__all__ = ["check", "load"]


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
