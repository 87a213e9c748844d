"""What the template of `train.py` needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from parc.emit.pretty import wrapped
from parc.emit.quoting import quoted
from parc.ir.program import Program, Send, Stage, Value
from parc.plan.blocks import Plan


def train_facts(plan: Plan, program: Program, modules: Sequence[str]) -> dict[str, Any]:
    """`modules` names the module that each stage is written to."""
    train, dataset = plan.train, plan.train.dataset
    data = plan.data.axes if plan.data else ()
    sequences = train.batch.sequences // train.batch.microbatches // plan.mesh.product(data)
    peak = plan.cluster.device.compute if plan.cluster.device else None
    return {
        "title": f"Trains plan `{plan.name}`: {_describe_mesh(plan)}.",
        "stage_modules": list(dict.fromkeys(modules)),
        "pipeline": bool(plan.pipeline),
        "pipeline_axis": quoted(plan.pipeline.axes[0] if plan.pipeline else None),
        "schedule": quoted(plan.pipeline.schedule if plan.pipeline else None),
        "axes": _assign("AXES", quoted({axis.name: axis.size for axis in plan.mesh.axes})),
        "world": plan.mesh.size,
        "seed": train.seed,
        "steps": train.steps,
        "dataset": {
            "kind": dataset.kind if dataset else "files",
            "patterns": _assign("DATA", quoted(list(dataset.patterns) if dataset else [])),
            "type": quoted(dataset.type if dataset else "uint8"),
        },
        "settings": [
            _assign("BATCH", _call("BatchSettings", _batch_settings(plan))),
            _assign("OBJECTIVE", _call("Objective", _objective(plan, program))),
            _assign("OPTIMIZER", _call("AdamWSettings", _optimizer_settings(plan))),
        ],
        "stages": _assign("STAGES", f"({', '.join(map(_stage, modules, program.stages))},)"),
        "tokens_shape": (sequences, train.batch.length),
        "data_axes": quoted(tuple(data)),
        "load_axes": quoted(program.load_axes),
        "flops": f"{program.flops / plan.mesh.size:_.0f}" if peak else None,
        "peak": format_large(peak) if peak else None,
    }


def format_large(value: float) -> str:
    """A large number with an exponent that is a multiple of three: 400e12."""
    exponent = 3 * ((len(f"{value:.0f}") - 1) // 3)
    text = f"{quoted(value / 10**exponent).removesuffix('.0')}e{exponent}"
    return text if float(text) == value else quoted(value)


def _batch_settings(plan: Plan) -> Mapping[str, str]:
    train = plan.train
    given = {
        "sequences": train.batch.sequences,
        "length": train.batch.length,
        "microbatches": train.batch.microbatches,
    }
    options = {"shift": train.loss.shift, "vocabulary": train.model.shape.vocab}
    return {name: quoted(value) for name, value in given.items()} | {
        "seed": "SEED",
        **{name: quoted(value) for name, value in options.items()},
    }


def _optimizer_settings(plan: Plan) -> Mapping[str, str]:
    names = ("lr", "beta1", "beta2", "eps", "weight_decay", "clip", "warmup", "decay", "min_lr")
    return {name: quoted(getattr(plan.train.optimizer, name)) for name in names}


def _objective(plan: Plan, program: Program) -> Mapping[str, str]:
    loss = plan.train.loss
    settings: dict[str, object] = {
        "returns": "loss" if program.mean else "logits",
        "loss_axes": program.loss_axes,
    }
    if program.balanced:
        settings |= {"balance": loss.balance, "balance_axes": program.balance_axes}
    if loss.ignore_index != -100:
        settings["ignore_index"] = loss.ignore_index
    return {name: quoted(value) for name, value in settings.items()}


def _stage(module: str, stage: Stage) -> str:
    settings = {
        "build": f"{module}.Stage",
        "placements": f"{module}.PLACEMENTS",
        "first_layer": quoted(stage.first_layer),
        "keywords": quoted(stage.keywords),
    }
    if any(isinstance(event, Send) for event in stage.root.events):
        outputs = ", ".join(_meta(value) for value in stage.gives)
        settings["outputs"] = f"({outputs},)"
    return _call("StageSpec", settings)


def _meta(value: Value) -> str:
    dtype = f", dtype={value.dtype}" if value.dtype != "torch.float32" else ""
    return f'torch.empty({value.shape}{dtype}, device="meta")'


def _call(function: str, keywords: Mapping[str, str]) -> str:
    return f"{function}({', '.join(f'{name}={text}' for name, text in keywords.items())})"


def _assign(name: str, text: str) -> str:
    return "\n".join(wrapped(f"{name} = {text}", 0))


def _describe_mesh(plan: Plan) -> str:
    sizes = " x ".join(f"{axis.name} {axis.size}" for axis in plan.mesh.axes)
    return f"{plan.mesh.size} ranks as {sizes}"
