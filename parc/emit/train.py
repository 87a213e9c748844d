"""What the template of `train.py` needs."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from parc.emit.pretty import WIDTH, print_expression, print_statement
from parc.emit.trees import assign
from parc.ir.expression import Expression, call, expr, literal, name, substitute
from parc.ir.module_calls import list_module_paths
from parc.ir.program import Program, Stage, Value
from parc.plan.blocks import TORCH_NAMES, Plan
from parc.plan.mesh import identify_group, split_group_name
from parc.plan.placement import gathers_by_module, list_shard_axes, reduces_by_module
from parc.plan.schema.plan import V_SHAPED

STEP_TIMEOUT = 300.0  # seconds


@dataclass(frozen=True)
class DatasetFacts:
    """Where the tokens come from, and the class that reads them."""

    kind: str
    patterns: str
    type: str

    @property
    def class_name(self) -> str:
        return "ByteDataset" if self.kind == "files" else "TokenDataset"

    @property
    def imports(self) -> str:
        return ", ".join([*sorted([self.class_name, "Dataset"]), "check_ids", "find_files"])


@dataclass(frozen=True)
class TrainFacts:
    """What is written in the gaps of the template; most texts are Python."""

    title: str
    stage_modules: Sequence[str]
    pipeline: bool
    topology: str
    schedule: str
    axes: str
    world: int
    seed: int
    steps: int
    dataset: DatasetFacts
    settings: Sequence[str]  # assignments of constants
    stages: str
    sequences: str  # of a microbatch, on one rank
    load_axes: str | None
    shard: str | None
    stored_buffers: bool
    sharded_modules: str | None
    gather: bool
    flops: str | None
    peak: str | None
    timeout: str


def collect_train_facts(plan: Plan, program: Program, modules: Sequence[str]) -> TrainFacts:
    """`modules` names the module that each stage is written to."""
    train, dataset = plan.train, plan.train.dataset
    data = plan.data.axes if plan.data else ()
    peak = plan.cluster.device.compute if plan.cluster.device else None
    paths = list_module_paths(program)
    stages = [_build_stage(module, stage) for module, stage in zip(modules, program.stages, strict=True)]
    return TrainFacts(
        title=textwrap.fill(f"Trains plan `{plan.name}`: {_describe_mesh(plan)}.", WIDTH - len('"""')),
        stage_modules=list(dict.fromkeys(modules)),
        pipeline=bool(plan.pipeline),
        topology=_assign(
            "topology", call("Topology.build", name("AXES"), **_build_topology_settings(plan, program)), 4
        ),
        schedule=_print_constant(plan.pipeline.schedule if plan.pipeline else None),
        axes=_assign("AXES", literal({axis.name: axis.size for axis in plan.mesh.axes})),
        world=plan.mesh.size,
        seed=train.seed,
        steps=train.steps,
        dataset=DatasetFacts(
            kind=dataset.kind if dataset else "files",
            patterns=_assign("DATA", literal(list(dataset.patterns) if dataset else [])),
            type=_print_constant(dataset.type if dataset else "uint8"),
        ),
        settings=[
            _assign("BATCH", call("BatchSettings", **_build_batch_settings(plan, program))),
            _assign("OBJECTIVE", call("Objective", **_build_objective(plan, program))),
            _assign("OPTIMIZER", call("AdamWSettings", **_build_optimizer_settings(plan))),
            _assign("PRECISION", call("Precision", **_build_precision(plan))),
        ],
        stages=_assign("STAGES", literal(tuple(stages))),
        sequences=_assign("SEQUENCES", _count_sequences(data)),
        load_axes=_print_constant(program.load_axes) if program.load_axes is not None else None,
        sharded_modules=_assign("SHARDED_MODULES", literal(paths)) if reduces_by_module(plan) else None,
        gather=gathers_by_module(plan),
        shard=_assign("SHARD", literal(shard)) if (shard := list_shard_axes(plan)) else None,
        stored_buffers=program.stored_buffers,
        flops=f"{program.flops / plan.mesh.size:_.0f}" if peak else None,
        peak=format_large(peak) if peak else None,
        timeout=_print_constant(STEP_TIMEOUT),
    )


def format_large(value: float) -> str:
    """A large number with an exponent that is a multiple of three: 400e12."""
    exponent = 3 * ((len(f"{value:.0f}") - 1) // 3)
    text = f"{_print_constant(value / 10**exponent).removesuffix('.0')}e{exponent}"
    return text if float(text) == value else _print_constant(value)


def _build_batch_settings(plan: Plan, program: Program) -> Mapping[str, ast.expr]:
    train = plan.train
    return {
        "sequences": literal(train.batch.sequences),
        "length": literal(train.batch.length),
        "microbatches": literal(train.batch.microbatches),
        "seed": name("SEED"),
        "shift": literal(train.loss.shift),
        "vocabulary": literal(program.known_ids),
    }


def _build_optimizer_settings(plan: Plan) -> Mapping[str, ast.expr]:
    names = ("lr", "beta1", "beta2", "eps", "weight_decay", "clip", "warmup", "decay", "min_lr")
    settings = {each: literal(getattr(plan.train.optimizer, each)) for each in names}
    if plan.train.optimizer.idle_experts == "skip":
        settings["idle_experts"] = literal("skip")
    if plan.train.precision.moments != plan.train.precision.master:
        settings["moments"] = expr(TORCH_NAMES[plan.train.precision.moments])
    return settings


def _build_precision(plan: Plan) -> Mapping[str, ast.expr]:
    types = plan.train.precision
    names = {"master": types.master, "gradients": types.gradients}
    if types.reduce != types.gradients:
        names["reduce"] = types.reduce
    return {key: expr(TORCH_NAMES[each]) for key, each in names.items()}


def _build_objective(plan: Plan, program: Program) -> Mapping[str, ast.expr]:
    loss = plan.train.loss
    settings: dict[str, object] = {
        "returns": "loss" if program.mean else "logits",
        "loss_axes": program.loss_axes,
    }
    if program.balanced:
        settings |= {"balance": loss.balance, "balance_axes": program.balance_axes}
        if program.balance_ranks > 1:
            settings["balance_ranks"] = program.balance_ranks
    if loss.ignore_index != -100:
        settings["ignore_index"] = loss.ignore_index
    return {each: literal(value) for each, value in settings.items()}


def _build_stage(module: str, stage: Stage) -> ast.expr:
    settings = {
        "build": expr(f"{module}.Stage"),
        "first_layer": literal(stage.first_layer),
    }
    if stage.keywords:
        settings["keywords"] = literal(stage.keywords)
    if stage.gives:
        settings["outputs"] = literal(tuple(map(_build_meta, stage.gives, stage.shapes)))
    return call("StageSpec", **settings)


def _build_meta(value: Value, shape: Expression) -> ast.expr:
    dtype = {"dtype": expr(value.dtype)} if value.dtype != "torch.float32" else {}
    sizes = substitute(shape.tree, {"sequences": name("SEQUENCES"), "length": expr("BATCH.length")})
    return call("torch.empty", sizes, **dtype, device=literal("meta"))


def _count_sequences(data: Sequence[str]) -> ast.expr:
    """The sequences of a microbatch on one rank of the `data` axes."""
    count = expr("BATCH.sequences // BATCH.microbatches")
    for axis in data:
        count = expr("count // AXES[axis]", count=count, axis=literal(axis))
    return count


def _build_topology_settings(plan: Plan, program: Program) -> Mapping[str, ast.expr]:
    data = {"data": literal(plan.data.axes)} if plan.data else {}
    groups = {
        identify_group(group): literal(split_group_name(group)) for group in _list_folded(plan, program)
    }
    folded = {"groups": literal(groups)} if groups else {}
    stages = plan.mesh.name_group(plan.pipeline.axes) if plan.pipeline else ""
    pipeline = {"pipeline": literal(identify_group(stages))} if stages else {}
    if plan.pipeline and plan.pipeline.chunks > 1:
        pipeline["chunks"] = literal(plan.pipeline.chunks)
    if plan.pipeline and plan.pipeline.schedule in V_SHAPED:
        pipeline["v_shaped"] = literal(True)
    return {
        **data,
        **folded,
        **pipeline,
        "device": name("device"),
        "timeout": expr("compute_collective_timeout(options.timeout)"),
    }


def _list_folded(plan: Plan, program: Program) -> list[str]:
    """The groups over several axes."""
    units = (unit for stage in program.stages for unit in (*stage.units, stage.root))
    groups = {group for unit in units for group in unit.groups}
    groups |= {plan.mesh.name_group(plan.pipeline.axes)} if plan.pipeline else set()
    return sorted(group for group in groups if len(split_group_name(group)) > 1)


def _assign(variable: str, tree: ast.expr, indent: int = 0) -> str:
    return "\n".join(print_statement(assign(name(variable), tree), indent))


def _print_constant(value: object) -> str:
    return print_expression(literal(value))


def _describe_mesh(plan: Plan) -> str:
    sizes = " x ".join(f"{axis.name} {axis.size}" for axis in plan.mesh.axes)
    return f"{plan.mesh.size} ranks as {sizes}"
