"""What the template of `train.py` needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from parc.emit.pretty import wrapped
from parc.emit.quoting import quoted
from parc.ir.program import Program
from parc.plan.blocks import Plan


def train_facts(plan: Plan, program: Program, modules: Sequence[str]) -> dict[str, Any]:
    """`modules` names the module that each stage is written to."""
    train, optimizer = plan.train, plan.train.optimizer
    microbatch = train.batch.sequences // train.batch.microbatches
    data = plan.data.axes if plan.data else ()
    settings = {k: v for k, v in _settings(plan).items() if k != "lr"}
    dataset = train.dataset
    dtype = program.stages[-1].gives[0].dtype
    return {
        "title": f"Trains plan `{plan.name}`: {_axes_said(plan)}.",
        "stage_modules": list(dict.fromkeys(modules)),
        "pipeline": bool(plan.pipeline),
        "pipeline_axis": quoted(plan.pipeline.axes[0]) if plan.pipeline else "None",
        "schedule": quoted(plan.pipeline.schedule) if plan.pipeline else "None",
        "microbatches": train.batch.microbatches,
        "axes": _constant("AXES", {axis.name: axis.size for axis in plan.mesh.axes}),
        "world": plan.mesh.size,
        "seed": train.seed,
        "steps": train.steps,
        "dataset": {
            "kind": dataset.kind if dataset else "files",
            "patterns": _constant("DATA", list(dataset.patterns) if dataset else []),
            "type": quoted(dataset.type if dataset else "uint8"),
        },
        "batch": _batch(plan),
        "stages": [
            {"module": module, "first": stage.first_layer, "keywords": quoted(stage.keywords)}
            for module, stage in zip(modules, program.stages, strict=True)
        ],
        "crossing": [
            "\n".join(wrapped(quoted(tuple(value.shape for value in stage.gives)), 4, ","))
            for stage in program.stages[:-1]
        ],
        "tokens_shape": (microbatch // plan.mesh.product(data), train.batch.length),
        "dtype": dtype,
        "objective": _objective(plan, program),
        "data_axes": quoted(tuple(data)),
        "optimizer": [f"{key}={quoted(value)}" for key, value in settings.items()],
        "lr": optimizer.lr,
        "load_axes": quoted(program.load_axes),
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
    return _constant("BATCH", facts)


def _constant(name: str, value: object) -> str:
    return "\n".join(wrapped(f"{name} = {quoted(value)}", 0))


def _objective(plan: Plan, program: Program) -> list[str]:
    loss = plan.train.loss
    arguments = [
        f"returns={quoted('loss' if program.mean else 'logits')}",
        f"loss_axes={quoted(program.loss_axes)}",
    ]
    if program.balanced:
        arguments += [f"balance={loss.balance!r}", f"balance_axes={quoted(program.balance_axes)}"]
    if loss.ignore_index != -100:
        arguments.append(f"ignore_index={loss.ignore_index}")
    return arguments


def _axes_said(plan: Plan) -> str:
    sizes = " x ".join(f"{axis.name} {axis.size}" for axis in plan.mesh.axes)
    return f"{plan.mesh.size} ranks as {sizes}"
