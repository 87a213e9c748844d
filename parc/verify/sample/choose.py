"""Chooses the sample of a plan: its mesh or a smaller one of its kind, its model cut in width and depth."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from itertools import islice, product
from math import prod
from typing import TypeAlias

from torch import nn

from parc.capture.capture import DTYPES
from parc.capture.model.user_model import load_model
from parc.check.engine import check_plan
from parc.check.unsupported import find_unsupported
from parc.diagnostic import CompileError, has_errors
from parc.plan.blocks import Level, Model, Plan, Shape
from parc.plan.mesh import Mesh
from parc.verify.report import NotProvable
from parc.verify.sample.factory_arguments import iterate_arguments
from parc.verify.sample.sample import Precision, Sample, compile_sample, set_precision
from parc.verify.sample.shrink import (
    format_changes,
    list_latent_sizes,
    shrink_batch,
    shrink_layers,
    shrink_mesh,
    shrink_sizes,
    widen_data,
)

RANKS = 128  # as many processes as a machine of two cores runs a step of in less than a minute
LAYERS = (2, 4, 8)  # of a stage, tried until every kind of layer is there
MAX_PARAMETERS = 8 << 20  # of a model that is run whole
MAX_LENGTH = 64  # of a sequence that a whole model is given as it is
WARMUP = 2  # steps: the last of three has the whole learning rate
RATE = 1e-3  # at least: the larger an update, the better an error in it is told from rounding
EPS = 1e-12  # at least: with 0, a gradient that is rounding alone moves a parameter by a whole step
CAPACITY = 0.7  # at most, of experts that have one: some pairs are dropped however they are routed
GROUPS = (1, 8)  # of experts, tried in turn: a router may choose among groups, whose number stays
TRIES = 4  # of compiling, for each of these

Shapes: TypeAlias = Mapping[str, Sequence[int]]  # of parameters, by name


def choose_sample(
    plan: Plan,
    compute: Precision = "fp64",
    ranks: int = RANKS,
    shapes: Shapes | None = None,
    layers: Sequence[int] = LAYERS,
) -> Sample:
    """A program of the plan's kind on about `ranks` ranks at most.

    `shapes` are those of the model's parameters, where they are known; else it is built for them. `layers`
    are the numbers of layers of a stage that are tried.

    Raises NotProvable where the model can neither be cut nor run whole, CompileError where it cannot be
    built.
    """
    shapes = shapes or _list_shapes(load_model(plan.train.model, DTYPES[compute], plan.train.seed).module)
    mesh = shrink_mesh(plan, ranks)
    faster = _lower_capacity(_speed_up_learning(plan))
    meshes = filter(None, (widen_data(plan, mesh, ranks), mesh))
    for each, groups in product(meshes, GROUPS):
        for candidate in islice(_iterate_cuts(faster, each, shapes, layers, groups), TRIES):
            with suppress(CompileError):
                return _add_notes(plan, compile_sample(candidate, compute))
    return _add_notes(plan, _compile_whole(faster, mesh, shapes, compute, ranks))


def _speed_up_learning(plan: Plan) -> Plan:
    """The plan with an optimizer whose first steps change the parameters visibly."""
    own = plan.train.optimizer
    faster = replace(own, lr=max(own.lr, RATE), eps=max(own.eps, EPS), warmup=min(own.warmup, WARMUP))
    return replace(plan, train=replace(plan.train, optimizer=faster))


def _lower_capacity(plan: Plan) -> Plan:
    """The plan with experts that drop pairs, if they may."""
    own = plan.train.approximate
    if own is None or own.capacity is None:
        return plan
    approximate = replace(own, capacity=min(own.capacity, CAPACITY))
    return replace(plan, train=replace(plan.train, approximate=approximate))


def _iterate_cuts(
    plan: Plan, mesh: Mesh, whole: Shapes, depths: Sequence[int], groups: int
) -> Iterator[Plan]:
    """Plans of the same kind whose models can be built, the smallest first; `groups` as of `shrink_sizes`."""
    model, sizes, kinds = plan.train.model, shrink_sizes(plan, mesh, groups), _list_kinds(whole)
    before = _read_sizes(model.shape)
    if model.shape.hidden and model.shape.heads and not model.shape.head_dim:
        before["head_dim"] = model.shape.hidden // model.shape.heads
    length, short = plan.train.batch.length, shrink_batch(plan, mesh).length
    for most in depths:
        layers = shrink_layers(plan, mesh, most)
        all_sizes = {**sizes, "layers": sum(layers.stages), "dense_layers": layers.dense}
        after = {key: size for key, size in all_sizes.items() if key in before}
        stated = {key: size for key, size in after.items() if getattr(model.shape, key, None) is not None}
        latent = tuple(after[key] for key in list_latent_sizes(model.shape))
        shape = replace(model.shape, latent=latent, **stated)  # type: ignore[arg-type]
        old, new = {**before, "length": length}, {**before, **after, "length": short}
        for arguments in iterate_arguments(model.arguments, old, new, layers.kept):
            cut = replace(model, arguments=arguments, shape=shape)
            candidate = _fit_to_mesh(plan, mesh, cut, layers.stages)
            if _is_legal(candidate) and _build_kinds(candidate) == kinds:
                yield candidate


def _read_sizes(shape: Shape) -> dict[str, int]:
    """The sizes that a shape states."""
    sizes = {each.name: size for each in fields(shape) if type(size := getattr(shape, each.name)) is int}
    return sizes | list_latent_sizes(shape)


def _fit_to_mesh(plan: Plan, mesh: Mesh, model: Model, layers: tuple[int, ...]) -> Plan:
    """The plan on another mesh, with the smallest batch of its kind and without its cluster's properties."""
    return replace(
        plan,
        train=replace(plan.train, model=model, batch=shrink_batch(plan, mesh)),
        cluster=replace(plan.cluster, levels=(Level("here", mesh.size),), device=None, links=()),
        mesh=mesh,
        pipeline=replace(plan.pipeline, layers=layers) if plan.pipeline else None,
        expect=(),
    )


def _is_legal(plan: Plan) -> bool:
    """Whether a plan can be built. Its data are not read, so they are not checked."""
    plan = replace(plan, train=replace(plan.train, dataset=None))
    return not has_errors([*check_plan(plan).diagnostics, *find_unsupported(plan)])


def _build_kinds(plan: Plan) -> set[tuple[str, int]] | None:
    """The kinds of parameters of a plan's model; None where it cannot be built, or not in this size."""
    model, layers = plan.train.model, plan.train.model.shape.layers
    try:
        built = load_model(model, DTYPES[plan.train.precision.compute], plan.train.seed).module
    except CompileError:
        return None
    lists = {len(each) for each in built.modules() if isinstance(each, nn.ModuleList)}
    return _list_kinds(_list_shapes(built)) if layers is None or layers in lists else None


def _list_shapes(model: nn.Module) -> Shapes:
    return {name: parameter.shape for name, parameter in model.named_parameters()}


def _list_kinds(shapes: Shapes) -> set[tuple[str, int]]:
    """The names of parameters, without numbers of layers and experts, and how many dims they have."""
    return {(re.sub(r"\.\d+(?=\.|$)", ".*", name), len(shape)) for name, shape in shapes.items()}


def _compile_whole(plan: Plan, mesh: Mesh, shapes: Shapes, compute: Precision, ranks: int) -> Sample:
    """The sample of a model that cannot be cut: only the batch is."""
    count = sum(map(prod, shapes.values()))
    if count > MAX_PARAMETERS:
        raise NotProvable(
            f"`{plan.train.model.source}` cannot be cut in width and depth by its `shape` and `arguments`, "
            f"and its {count:,} parameters are too many to train whole: at most {MAX_PARAMETERS:,}"
        )
    pipeline = plan.pipeline
    if pipeline and mesh.product(pipeline.axes) != plan.mesh.product(pipeline.axes):
        raise NotProvable("the model cannot be cut in depth, and its stages are more than this machine runs")
    candidate = _fit_to_mesh(plan, mesh, plan.train.model, pipeline.layers if pipeline else ())
    if plan.train.batch.length <= MAX_LENGTH:  # the model may have a table of just so many positions
        batch = replace(candidate.train.batch, length=plan.train.batch.length)
        candidate = replace(candidate, train=replace(candidate.train, batch=batch))
    legal = _is_legal(set_precision(candidate, compute))
    if not legal and plan.mesh.size > ranks:
        raise NotProvable(
            f"the whole model does not fit a smaller mesh, and the plan's {plan.mesh.size:,} ranks are more "
            f"than are run here: at most {ranks}"
        )
    return compile_sample(candidate if legal else plan, compute)


def _add_notes(plan: Plan, sample: Sample) -> Sample:
    return replace(sample, notes=tuple(_describe(plan, sample.plan)))


def _describe(plan: Plan, sample: Plan) -> Iterator[str]:
    """How a sample was made from the plan."""

    def compare(read: Callable[[Plan], Mapping[str, float]]) -> str:
        return format_changes(read(plan), read(sample))

    mesh = " x ".join(f"{name} {size}" for name, size in sample.mesh.axes)
    if axes := compare(lambda of: dict(of.mesh.axes)):
        yield f"{sample.mesh.size} ranks as {mesh}, of {plan.mesh.size:,}: {axes}"
    else:
        yield f"the plan's whole mesh: {sample.mesh.size} ranks as {mesh}"
    sizes = compare(lambda of: _read_sizes(of.train.model.shape))
    yield f"the model cut to {sizes}" if sizes else "the whole model: no smaller one of its kind can be built"
    if batch := compare(lambda of: {key: getattr(of.train.batch, key) for key in _BATCH}):
        yield f"the batch cut to {batch}"
    if optimizer := compare(lambda of: {key: getattr(of.train.optimizer, key) for key in _OPTIMIZER}):
        yield f"so that a wrong update shows, the optimizer has {optimizer}"
    if capacity := compare(_read_capacity):
        yield f"so that pairs are dropped, experts have a {capacity}"


def _read_capacity(plan: Plan) -> Mapping[str, float]:
    approximate = plan.train.approximate
    capacity = approximate.capacity if approximate else None
    return {} if capacity is None else {"capacity": capacity}


_BATCH = ("sequences", "length", "microbatches")
_OPTIMIZER = ("lr", "eps", "warmup")
