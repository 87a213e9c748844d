"""A program as the files of its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from parc.diagnostic import CompileError, Diagnostic, Label, error
from parc.emit.modules import build_model_module, build_stage_module, find_clashing_groups
from parc.emit.pretty import print_module
from parc.emit.readme import collect_readme_facts
from parc.emit.tables import count_nodes, format_lock, format_rank_table
from parc.emit.train import collect_train_facts
from parc.ir.program import Program
from parc.ir.verifier import verify_program
from parc.plan.blocks import Plan
from parc.plan.mesh import identify_group, split_group_name
from parc.resources import PACKAGE, find_file, find_folder

Files = dict[str, bytes]
MODEL = "model.py"
"""The file that holds every class of the model; those of the roots of stages lie beside it."""
LICENSE = "LICENSE"
STORED_VALUES = "initial_values.safetensors"
TABLED = 1 << 16  # more ranks than this are not listed one by one


@dataclass(frozen=True)
class StageFile:
    """The module that a stage is written to. Stages of the same text share one."""

    name: str
    text: str


def emit(plan: Plan, program: Program, sources: Mapping[str, bytes]) -> Files:
    """Every file of the folder by its path. `sources` are the texts that all was made from, by name.

    Raises CompileError where an axis, which becomes an attribute of modules, has the name of another one; and
    where the program is inconsistent, which is a fault of the passes before.
    """
    verify_program(plan, program)
    pipeline = plan.mesh.name_group(plan.pipeline.axes) if plan.pipeline else None
    clashing = find_clashing_groups(program, plan.mesh.names, pipeline)
    clashes = [_report_clash(plan, group) for group in sorted(clashing)]
    if clashes:
        raise CompileError(*clashes)
    stages = _print_stages(plan, program)
    modules = [each.name for each in stages]
    templates = {
        "train.py": ("train.py.jinja", collect_train_facts(plan, program, modules)),
        "README.md": ("README.md.jinja", collect_readme_facts(plan, program, modules)),
        "launch/torchrun.sh": ("torchrun.sh.jinja", count_nodes(plan)),
    }
    environment = _create_environment()
    title = f"The model of plan `{plan.name}` as every rank runs it: placements of parameters and classes."
    found = {MODEL: print_module(build_model_module(program, title, plan.mesh.sizes))}
    found |= {f"{each.name}.py": each.text for each in stages}
    for file, (template, facts) in templates.items():
        found[file] = environment.get_template(template).render(vars(facts))
    if plan.mesh.size <= TABLED:
        found["ranks.csv"] = format_rank_table(plan)
    for path in (PACKAGE / "runtime").rglob("*.py"):
        found[path.relative_to(PACKAGE).as_posix()] = path.read_text(encoding="utf-8")
    found[LICENSE] = find_file(LICENSE).read_text(encoding="utf-8")
    stored = {STORED_VALUES: program.stored} if program.stored else {}
    files = {name: text.encode() for name, text in found.items()} | stored
    return files | {"plan.lock.json": format_lock(plan, sources, files).encode()}


def dump_files(files: Files) -> str:
    """The names and sizes of the files of a folder, and the text of its model."""
    sizes = [f"{len(content):>8,}  {name}" for name, content in sorted(files.items())]
    model = [name for name in sorted(files) if name.startswith(("model.", "stage_"))]
    texts = [f"# {name}\n{files[name].decode()}" for name in model]
    return "\n\n".join(["\n".join(sizes), *texts])


def _create_environment() -> Environment:
    """For Python and Markdown, so nothing is escaped as HTML would need; no text of a plan is a template."""
    return Environment(
        loader=FileSystemLoader(find_folder("templates")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _print_stages(plan: Plan, program: Program) -> list[StageFile]:
    """For each stage its module, the first stage of the same text standing for all."""
    by_text: dict[str, StageFile] = {}
    title = f"A stage of plan `{plan.name}`: the parts of the model that it runs."
    found = []
    for number, stage in enumerate(program.stages):
        text = print_module(build_stage_module(stage, title, plan.mesh.sizes))
        found.append(by_text.setdefault(text, StageFile(f"stage_{number}", text)))
    return found


def _report_clash(plan: Plan, group: str) -> Diagnostic:
    axes = split_group_name(group)
    message = f"the axis `{group}` has the name of an attribute of a module that communicates over it"
    if len(axes) > 1:
        named = " and ".join(f"`{axis}`" for axis in axes)
        message = f"the group over {named} is `{identify_group(group)}`, as something else is named"
    return error("P511", message, Label(plan.at(f"mesh.{axes[0]}"), "choose another name"))
