"""What the template of `README.md` needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parc.emit.train import STEP_TIMEOUT
from parc.ir.program import Program
from parc.plan.blocks import Plan
from parc.plan.placement import locate_stages
from parc.runtime.data.datasets import STDLIB
from parc.version import find_version


@dataclass(frozen=True)
class AxisLine:
    """An axis of the mesh."""

    name: str
    size: int
    carries: str


@dataclass(frozen=True)
class FileLine:
    """A file of stages."""

    file: str
    content: str


@dataclass(frozen=True)
class ReadmeFacts:
    """What is written in the template's gaps."""

    plan: str
    world: int
    version: str
    axes: Sequence[AxisLine]
    formula: str
    stages: Sequence[FileLine]
    notes: Sequence[str]
    options: str  # of the commands that start it
    patterns: str  # of the data
    local: bool  # whether they start from the plan's folder
    timeout: str
    stored: bool  # whether there is a file of initial values


def collect_readme_facts(plan: Plan, program: Program, modules: Sequence[str]) -> ReadmeFacts:
    """`modules` names the module that each stage is written to."""
    patterns = plan.train.dataset.patterns if plan.train.dataset else ()
    local = any(not each.startswith(STDLIB) for each in patterns)
    contents: dict[str, list[str]] = {}
    places = _list_places(plan)
    for number, (module, stage) in enumerate(zip(modules, program.stages, strict=True)):
        last = stage.first_layer + len(stage.layers) - 1
        layers = f"{stage.first_layer} to {last}" if stage.layers else f"from {stage.first_layer} on"
        said = f"stage {number}, layers {layers}{places.get(number, '')}"
        contents.setdefault(f"{module}.py", []).append(said)
    return ReadmeFacts(
        plan=plan.name,
        world=plan.mesh.size,
        version=find_version() or "unknown",
        axes=[
            AxisLine(axis.name, axis.size, _describe_strategies(plan, axis.name)) for axis in plan.mesh.axes
        ],
        formula=f"= {plan.mesh.format_rank()}",
        stages=[FileLine(file, "; ".join(texts)) for file, texts in contents.items()],
        notes=program.notes,
        options=" --base .." if local else "" if patterns else " --base FOLDER --data GLOB",
        patterns=", ".join(f"`{each}`" for each in patterns),
        local=local,
        timeout=f"{STEP_TIMEOUT:g}",
        stored=bool(program.stored),
    )


def _list_places(plan: Plan) -> dict[int, str]:
    """Where each stage is, by its number, if a rank has several."""
    if plan.pipeline is None or plan.pipeline.chunks == 1:
        return {}
    group, ranks = plan.mesh.name_group(plan.pipeline.axes), plan.mesh.group(0, plan.pipeline.axes)
    places = [(place, stage) for place, rank in enumerate(ranks) for stage in locate_stages(plan, rank)]
    return {stage: f", at {group} {place}" for place, stage in places}


def _describe_strategies(plan: Plan, axis: str) -> str:
    strategies = {
        "data": plan.data,
        "tensor": plan.tensor,
        "experts": plan.experts,
        "pipeline": plan.pipeline,
    }
    found = [name for name, strategy in strategies.items() if strategy and axis in strategy.axes]
    return ", ".join(found) or "nothing: its ranks repeat each other"
