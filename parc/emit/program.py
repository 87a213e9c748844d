"""A program as the files of its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from parc.diagnostic import CompileError, Label, error
from parc.emit.modules import classes, imports, names_used, taken
from parc.emit.placements import placement_table
from parc.emit.pretty import wrapped
from parc.emit.readme import readme_facts
from parc.emit.tables import launch_facts, lock, ranks
from parc.emit.train import train_facts
from parc.ir.program import Program, Stage
from parc.plan.blocks import Plan
from parc.resources import PACKAGE, find_folder

Files = dict[str, bytes]
TABLED = 1 << 16  # more ranks than this are not listed one by one


@dataclass(frozen=True)
class Made:
    """The module that a stage is written to. Stages of the same text share one."""

    name: str
    text: str


def emit(plan: Plan, program: Program, sources: Mapping[str, bytes]) -> Files:
    """Every file of the folder by its path. `sources` are the texts that all was made from, by name.

    Raises CompileError where an axis, which becomes an attribute of modules, has the name of another one.
    """
    message = "the axis `{}` has the name of a part of the model, or one that Python or torch keeps"
    clashes = [
        error("P511", message.format(axis), Label(plan.at(f"mesh.{axis}"), "choose another name"))
        for axis in sorted(taken(program))
    ]
    if clashes:
        raise CompileError(*clashes)
    environment = _environment()
    made = _stages(environment, plan, program)
    modules = [each.name for each in made]

    def rendered(template: str, facts: Mapping[str, Any]) -> str:
        return environment.get_template(template).render(facts)

    found = {f"{each.name}.py": each.text for each in made}
    found["train.py"] = rendered("train.py.jinja", train_facts(plan, program, modules))
    found["README.md"] = rendered("README.md.jinja", readme_facts(plan, program, modules))
    found["launch/torchrun.sh"] = rendered("torchrun.sh.jinja", launch_facts(plan))
    if plan.mesh.size <= TABLED:
        found["ranks.csv"] = ranks(plan)
    for file in (PACKAGE / "runtime").glob("*.py"):
        found[f"runtime/{file.name}"] = file.read_text(encoding="utf-8")
    found["plan.lock.json"] = lock(plan, sources, sorted(found))
    return {name: text.encode() for name, text in found.items()}


def _environment() -> Environment:
    """For Python and Markdown, so nothing is escaped as HTML would need; no text of a plan is a template."""
    return Environment(
        loader=FileSystemLoader(find_folder("templates")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _stages(environment: Environment, plan: Plan, program: Program) -> list[Made]:
    """For each stage its module, the first stage of the same text standing for all."""
    by_text: dict[str, Made] = {}
    made = []
    for number, stage in enumerate(program.stages):
        text = _stage(environment, plan, stage)
        made.append(by_text.setdefault(text, Made(f"stage_{number}", text)))
    return made


def _stage(environment: Environment, plan: Plan, stage: Stage) -> str:
    template = environment.get_template("stage.py.jinja")
    facts: dict[str, Any] = {
        "title": f"A stage of plan `{plan.name}`, as one rank runs it.",
        "classes": classes(stage, {axis.name: axis.size for axis in plan.mesh.axes}),
        "placements": placement_table(stage),
    }
    draft = template.render(**facts, imports={}, uses_torch=True, uses_functional=True)
    used = names_used(draft)
    lines = {module: _import(module, names) for module, names in imports(draft).items()}
    text = template.render(**facts, imports=lines, uses_torch="torch" in used, uses_functional="F" in used)
    return text.rstrip("\n") + "\n"


def _import(module: str, names: list[str]) -> str:
    return "\n".join(wrapped(f"from runtime.{module} import {', '.join(names)}", 0))
