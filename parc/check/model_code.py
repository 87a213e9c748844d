"""Which code of the user's a build runs, and where it may lie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os.path import normpath
from pathlib import Path

from parc.diagnostic import Diagnostic, Label, error
from parc.plan.blocks import Model, Plan
from parc.plan.imports import find_project


def locate_code(model: Model) -> Path | None:
    """The Python file that `source` names; None where it names a package."""
    place, _, _ = model.source.rpartition(":")
    return Path(model.span.source.path).parent / place if place.endswith(".py") else None


def find_outside_code(plans: Iterable[Plan], root: Path) -> Iterator[Diagnostic]:
    """Models whose files lie outside of the project of the plan file `root`, each once."""
    project = find_project(root.resolve().parent)
    for model in {plan.train.model.source: plan.train.model for plan in plans}.values():
        file = locate_code(model)
        if file is not None and not _resolve(file).is_relative_to(project):
            message = "the model must lie inside the folder of the project: building runs its code"
            label = Label(model.at("source"), f"outside `{project.name}`")
            yield error("P114", message, label, help="`--allow-outside-imports` permits this")


def describe_code(model: Model) -> str:
    """What a build runs: "`examples/moe.py`"."""
    file = locate_code(model)
    if file is not None:
        return f"`{normpath(file)}`"
    return f"the package `{model.source.partition(':')[0].partition('.')[0]}`"


def _resolve(file: Path) -> Path:
    try:
        return file.resolve()
    except (OSError, RuntimeError, ValueError):  # a cycle of symbolic links, a null character
        return Path(file.anchor or "/")
