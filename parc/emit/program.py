"""A program as the files of its folder."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from parc.emit.layout import wrapped
from parc.emit.modules import classes, imports, names_used
from parc.events import Program, Stage
from parc.plan.facts import Plan
from parc.resources import PACKAGE, folder

Files = dict[str, bytes]
TABLED = 1 << 16  # more ranks than this are not listed one by one


@dataclass(frozen=True)
class Made:
    """The module that a stage is written to. Stages of the same text share one."""

    module: str
    text: str


def files(plan: Plan, program: Program, sources: Mapping[str, bytes]) -> Files:
    """Every file of the folder by its path. `sources` are the texts that the program was made from, by name."""
    environment = _environment()
    made = _stages(environment, plan, program)
    modules = list(dict.fromkeys(made))
    found: Files = {f"{each.module}.py": each.text.encode() for each in modules}
    found["train.py"] = environment.get_template("train.py.jinja").render(_train(plan, program, made)).encode()
    found["README.md"] = environment.get_template("README.md.jinja").render(_readme(plan, program, made)).encode()
    found["launch/torchrun.sh"] = environment.get_template("torchrun.sh.jinja").render(_launch(plan)).encode()
    found["plan.lock.json"] = _lock(plan, sources)
    if plan.mesh.size <= TABLED:
        found["ranks.csv"] = _ranks(plan).encode()
    for file in sorted((PACKAGE / "runtime").glob("*.py")):
        found[f"runtime/{file.name}"] = file.read_bytes()
    return found


def _environment() -> Environment:
    return Environment(  # noqa: S701 - Python and Markdown, not HTML; no text of a plan is ever a template
        loader=FileSystemLoader(folder("templates")),
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
    rendered = classes(stage)
    template = environment.get_template("stage.py.jinja")
    facts: dict[str, Any] = {"title": f"A stage of plan `{plan.name}`, as one rank runs it.", "classes": rendered}
    draft = template.render(**facts, imports={}, uses_torch=True, uses_functional=True)
    used = names_used(draft)
    lines = {
        module: "\n".join(wrapped(f"from runtime.{module} import ({', '.join(names)})", 0)) if _long(module, names)
        else f"from runtime.{module} import {', '.join(names)}"
        for module, names in imports(draft).items()
    }
    text = template.render(**facts, imports=lines, uses_torch="torch" in used, uses_functional="F" in used)
    return text.rstrip("\n") + "\n"


def _long(module: str, names: list[str]) -> bool:
    return len(f"from runtime.{module} import {', '.join(names)}") > 100


def _train(plan: Plan, program: Program, made: list[Made]) -> dict[str, Any]:
    train, optimizer = plan.train, plan.train.optimizer
    microbatch = train.batch.sequences // train.batch.microbatches
    data = plan.data.axes if plan.data else ()
    settings = {k: v for k, v in _settings(plan).items() if k != "lr"}
    dataset = train.dataset
    dtype = program.stages[-1].gives[0].dtype
    return {
        "title": f"Trains plan `{plan.name}`: {_axes_said(plan)}.",
        "stage_modules": sorted({each.module for each in made}),
        "pipeline": bool(plan.pipeline),
        "pipeline_axis": _quoted(plan.pipeline.axes[0]) if plan.pipeline else "None",
        "schedule": _quoted(plan.pipeline.schedule) if plan.pipeline else "None",
        "microbatches": train.batch.microbatches,
        "axes": _quoted({axis.name: axis.size for axis in plan.mesh.axes}),
        "world": plan.mesh.size,
        "seed": train.seed,
        "steps": train.steps,
        "dataset": {
            "kind": dataset.kind if dataset else "files",
            "patterns": _quoted(list(dataset.patterns) if dataset else []),
            "type": _quoted(dataset.type if dataset else "uint8"),
        },
        "batch": _batch(plan),
        "stages": [
            {"module": m.module, "first": stage.first_layer, "keywords": _quoted(stage.keywords)}
            for m, stage in zip(made, program.stages, strict=True)
        ],
        "crossing": [_quoted(tuple(value.shape for value in stage.gives)) for stage in program.stages[:-1]],
        "tokens_shape": (microbatch // plan.mesh.product(data), train.batch.length),
        "dtype": dtype,
        "objective": _objective(plan, program),
        "data_axes": _quoted(tuple(data)),
        "optimizer": [f"{key}={_quoted(value)}" for key, value in settings.items()],
        "lr": optimizer.lr,
        "load_axes": _quoted(program.load_axes),
        "flops": program.flops / plan.mesh.size if _peak(plan) else None,
        "peak": _peak(plan),
    }


def _peak(plan: Plan) -> float | None:
    return plan.cluster.device.compute if plan.cluster.device else None


def _settings(plan: Plan) -> dict[str, Any]:
    names = ("lr", "beta1", "beta2", "eps", "weight_decay", "clip", "warmup", "decay", "min_lr")
    return {name: getattr(plan.train.optimizer, name) for name in names}


def _batch(plan: Plan) -> str:
    train = plan.train
    facts = {
        "sequences": train.batch.sequences,
        "length": train.batch.length,
        "microbatches": train.batch.microbatches,
        "shift": train.loss.shift,
        "vocabulary": train.model.shape.vocab,
    }
    return _quoted(facts)


def _objective(plan: Plan, program: Program) -> list[str]:
    loss = plan.train.loss
    arguments = [f'returns={_quoted("loss" if program.mean else "logits")}', f"loss_axes={_quoted(program.loss_axes)}"]
    if program.balanced:
        arguments += [f"balance={loss.balance!r}", f"balance_axes={_quoted(program.balance_axes)}"]
    if loss.ignore_index != -100:
        arguments.append(f"ignore_index={loss.ignore_index}")
    return arguments


def _quoted(value: Any) -> str:
    """A value as Python with double quotes."""
    if isinstance(value, str):
        return json.dumps(value) if value.isascii() and value.isprintable() else repr(value)
    if isinstance(value, tuple):
        inside = ", ".join(_quoted(item) for item in value)
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, list):
        return f"[{', '.join(_quoted(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_quoted(k)}: {_quoted(v)}' for k, v in value.items())}}}"
    return repr(value)


def _axes_said(plan: Plan) -> str:
    sizes = " x ".join(f"{axis.name} {axis.size}" for axis in plan.mesh.axes)
    return f"{plan.mesh.size} ranks as {sizes}"


def _readme(plan: Plan, program: Program, made: list[Made]) -> dict[str, Any]:
    formula = plan.mesh.axes[0].name
    for axis in plan.mesh.axes[1:]:
        formula = f"({formula}) * {axis.size} + {axis.name}" if " " in formula else f"{formula} * {axis.size} + {axis.name}"
    says: dict[str, list[str]] = {}
    for number, (each, stage) in enumerate(zip(made, program.stages, strict=True)):
        last = stage.first_layer + len(stage.layers) - 1
        says.setdefault(f"{each.module}.py", []).append(f"stage {number}, layers {stage.first_layer} to {last}")
    return {
        "plan": plan.name,
        "world": plan.mesh.size,
        "version": _version(),
        "axes": [{"name": a.name, "size": a.size, "carries": _carries(plan, a.name)} for a in plan.mesh.axes],
        "formula": f"= {formula}",
        "stages": [{"file": file, "says": "; ".join(texts)} for file, texts in says.items()],
        "notes": program.notes,
    }


def _carries(plan: Plan, axis: str) -> str:
    found = [
        name
        for name, strategy in (("data", plan.data), ("tensor", plan.tensor), ("experts", plan.experts), ("pipeline", plan.pipeline))
        if strategy is not None and axis in strategy.axes
    ]
    return ", ".join(found) or "nothing: its ranks repeat each other"


def _launch(plan: Plan) -> dict[str, int]:
    """Whole nodes where the plan fills them."""
    per_node = plan.cluster.levels[-1].size if plan.cluster.levels else plan.mesh.size
    per_node = per_node if plan.mesh.size % per_node == 0 else plan.mesh.size
    return {"nodes": plan.mesh.size // per_node, "per_node": per_node}


def _ranks(plan: Plan) -> str:
    """rank, node, device, coordinates, stage, experts: a row a rank."""
    per_node = _launch(plan)["per_node"]
    names = [axis.name for axis in plan.mesh.axes]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rank", "node", "device", *names, "stage", "experts", "data"])
    for rank in range(plan.mesh.size):
        at = plan.mesh.coordinates(rank)
        stage = plan.mesh.index(rank, plan.pipeline.axes) if plan.pipeline else 0
        data = plan.mesh.index(rank, plan.data.axes) if plan.data else 0
        row = [rank, rank // per_node, rank % per_node, *(at[name] for name in names), stage, _experts(plan, rank), data]
        writer.writerow(row)
    return text.getvalue()


def _experts(plan: Plan, rank: int) -> str:
    """The experts of a rank in each layer: `8-15`."""
    count = plan.train.model.shape.experts
    if not count:
        return ""
    ways = plan.mesh.product(plan.experts.axes) if plan.experts else 1
    mine = count // ways
    first = plan.mesh.index(rank, plan.experts.axes) * mine if plan.experts else 0
    return f"{first}-{first + mine - 1}"


def _lock(plan: Plan, sources: Mapping[str, bytes]) -> bytes:
    """The resolved plan and what it was made from: the same input gives the same bytes."""
    train = plan.train
    facts = {
        "parc": _version(),
        "plan": plan.name,
        "mesh": {axis.name: axis.size for axis in plan.mesh.axes},
        "strategies": {
            name: _facts(strategy)
            for name, strategy in (("data", plan.data), ("tensor", plan.tensor), ("experts", plan.experts), ("pipeline", plan.pipeline))
            if strategy is not None
        },
        "train": {"name": train.name, "seed": train.seed, "steps": train.steps, "batch": _facts(train.batch),
                  "loss": _facts(train.loss), "optimizer": _facts(train.optimizer), "precision": _facts(train.precision)},
        "model": {"source": train.model.source, "arguments": dict(train.model.arguments)},
        "sha256": {name: hashlib.sha256(text).hexdigest() for name, text in sorted(sources.items())},
    }
    return (json.dumps(facts, indent=2) + "\n").encode()


def _facts(block: Any) -> dict[str, Any]:
    return {key: value for key, value in asdict(block).items() if key not in ("span", "spans")}


def _version() -> str:
    try:
        return version("parc-compiler")
    except PackageNotFoundError:
        return "unknown"


__all__ = ["Files", "Path", "files"]
