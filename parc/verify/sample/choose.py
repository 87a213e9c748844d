"""What of a plan is run: its mesh or a small one of its kind, and its model cut in width and depth."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace

from torch import nn

from parc.capture.capture import DTYPES
from parc.capture.user_model import Faulty, load
from parc.check.engine import check, findings
from parc.check.unsupported import unbuilt
from parc.diagnostic import has_errors
from parc.plan.blocks import Argument, Level, Model, Plan, Shape
from parc.plan.mesh import Mesh
from parc.verify.report import NotProvable
from parc.verify.sample import shrink as cut
from parc.verify.sample.compile import Compute, Trial, computing, trial
from parc.verify.sample.factory_arguments import readings

RANKS = 128  # as many processes as a machine of two cores runs a step of in less than a minute
LAYERS = (2, 4, 8)  # of a stage, until every kind of layer is there
WHOLE = 8 << 20  # parameters of a model that is run as it is
WARMUP = 2  # steps: of three, the last is taken at the whole rate
RATE = 1e-3  # at least: what an update does wrongly is told from rounding by its size
EPS = 1e-12  # at least: with 0, a gradient that is rounding alone moves a parameter by a whole step
TRIES = 4  # of compiling


@dataclass(frozen=True)
class Sample:
    """What is run, and the lines that say how it was made."""

    trial: Trial
    told: tuple[str, ...]


def sample(plan: Plan, compute: Compute = "fp64", ranks: int = RANKS) -> Sample:
    """A program of the plan's kind on at most about `ranks` ranks.

    Raises NotProvable where the model can neither be cut nor run as it is, Faulty where it cannot be built.
    """
    whole = load(plan.train.model, DTYPES[compute]).model
    small = cut.mesh(plan, ranks)
    given, plan = plan, _learning(plan)
    tries = 0
    for candidate in _cuts(plan, small, whole):
        try:
            found = trial(candidate, compute)
        except Faulty:
            tries += 1
            if tries == TRIES:
                break
            continue
        return Sample(found, tuple(_said(given, candidate)))
    return _as_it_is(given, plan, small, whole, compute, ranks)


def _learning(plan: Plan) -> Plan:
    """The plan with an optimizer whose first steps show what it does."""
    own = plan.train.optimizer
    raised = replace(own, lr=max(own.lr, RATE), eps=max(own.eps, EPS), warmup=min(own.warmup, WARMUP))
    return replace(plan, train=replace(plan.train, optimizer=raised))


def _cuts(plan: Plan, small: Mesh, whole: nn.Module) -> Iterator[Plan]:
    """Plans of the same kind whose models build, the smallest first."""
    shape = plan.train.model.shape
    sizes = cut.sizes(plan, small)
    kinds = _kinds(whole)
    for most in LAYERS:
        layers = cut.layers(plan, small, most)
        after = {**sizes, "layers": sum(layers.stages), "dense_layers": layers.dense}
        before = {**_stated(shape), **_head_dim(shape)}
        after = {key: size for key, size in after.items() if key in before}
        for arguments in readings(plan.train.model.arguments, before, {**before, **after}, layers.kept):
            candidate = _laid(plan, small, layers, _model(plan.train.model, after, arguments))
            if _legal(candidate) and _built(candidate) == kinds:
                yield candidate


def _stated(shape: Shape) -> dict[str, int]:
    """The numbers of a shape."""
    found = {each.name: getattr(shape, each.name) for each in fields(Shape)}
    return {
        name: size for name, size in found.items() if isinstance(size, int) and not isinstance(size, bool)
    }


def _head_dim(shape: Shape) -> dict[str, int]:
    if shape.hidden and shape.heads and not shape.head_dim:
        return {"head_dim": shape.hidden // shape.heads}
    return {}


def _model(model: Model, after: Mapping[str, int], arguments: Mapping[str, Argument]) -> Model:
    stated = {key: size for key, size in after.items() if getattr(model.shape, key) is not None}
    return replace(model, arguments=arguments, shape=replace(model.shape, **stated))  # type: ignore[arg-type]


def _laid(plan: Plan, small: Mesh, layers: cut.Layers, model: Model) -> Plan:
    """The plan over a mesh, with a batch as small as keeps its kind; of a real cluster nothing is left."""
    parts = cut.microbatches(plan, small)
    batch = replace(
        plan.train.batch,
        sequences=cut.sequences(plan, small, parts),
        length=cut.length(plan, small),
        microbatches=parts,
    )
    cluster = replace(plan.cluster, levels=(Level("here", small.size),), device=None, links=())
    return replace(
        plan,
        train=replace(plan.train, model=model, batch=batch),
        cluster=cluster,
        mesh=small,
        pipeline=replace(plan.pipeline, layers=layers.stages) if plan.pipeline else None,
        expect=(),
    )


def _legal(plan: Plan) -> bool:
    """What is read is not the plan's data."""
    plan = replace(plan, train=replace(plan.train, dataset=None))
    return not has_errors([*check(findings([plan]), []), *unbuilt(plan)])


def _built(plan: Plan) -> object:
    """The kinds of parameters of a plan's model; None where it does not build, or not in this size."""
    model, shape = plan.train.model, plan.train.model.shape
    try:
        built = load(model, DTYPES[plan.train.precision.compute]).model
    except Faulty:
        return None
    lists = {len(each) for each in built.modules() if isinstance(each, nn.ModuleList)}
    return _kinds(built) if shape.layers is None or shape.layers in lists else None


def _kinds(model: nn.Module) -> set[tuple[str, int]]:
    """Names of parameters, whichever their layer or expert, and how many dims they have."""
    return {
        (re.sub(r"\.\d+(?=\.|$)", ".*", name), parameter.ndim) for name, parameter in model.named_parameters()
    }


def _as_it_is(given: Plan, plan: Plan, small: Mesh, whole: nn.Module, compute: Compute, ranks: int) -> Sample:
    """Only the batch is cut."""
    count = sum(parameter.numel() for parameter in whole.parameters())
    if count > WHOLE:
        raise NotProvable(
            f"`{plan.train.model.source}` cannot be cut in width and depth by what `shape` and `arguments` "
            f"say, and its {count:,} parameters are too many to be trained as they are: {WHOLE:,} at most"
        )
    pipeline = plan.pipeline
    if pipeline and small.product(pipeline.axes) != plan.mesh.product(pipeline.axes):
        raise NotProvable("the model cannot be cut in depth, and its stages are more than this machine runs")
    layers = cut.Layers(pipeline.layers if pipeline else (), 0, ())
    candidate = _laid(plan, small, layers, plan.train.model)
    legal = _legal(computing(candidate, compute))
    if not legal and plan.mesh.size > ranks:
        raise NotProvable(
            f"the model as it is does not fit a smaller mesh, and the plan's {plan.mesh.size:,} ranks are "
            f"more than are run here: {ranks} at most"
        )
    found = trial(candidate if legal else plan, compute)
    return Sample(found, tuple(_said(given, found.plan)))


def _said(plan: Plan, candidate: Plan) -> Iterator[str]:
    """How a candidate was made from the plan."""
    axes = {axis.name: axis.size for axis in plan.mesh.axes}
    small = {axis.name: axis.size for axis in candidate.mesh.axes}
    whole = " x ".join(f"{name} {size}" for name, size in small.items())
    if small == axes:
        yield f"the plan's whole mesh: {candidate.mesh.size} ranks as {whole}"
    else:
        yield f"{candidate.mesh.size} ranks as {whole}, of {plan.mesh.size:,}: {cut.shown(axes, small)}"
    before, after = (_stated(each.train.model.shape) for each in (plan, candidate))
    sizes = cut.shown(before, after)
    yield (
        f"the model cut to {sizes}" if sizes else "the model as it is: none of its kind is smaller and builds"
    )
    batch, its = ({key: getattr(each.train.batch, key) for key in _BATCH} for each in (plan, candidate))
    if shown := cut.shown(batch, its):
        yield f"the batch cut to {shown}"
    was, now = (asdict(each.train.optimizer) for each in (plan, candidate))
    if changed := [f"{key} {now[key]:g} (of {was[key]:g})" for key in _SEEN if now[key] != was[key]]:
        yield f"so that a wrong update shows, the optimizer has {', '.join(changed)}"


_SEEN = ("lr", "eps", "warmup")
_BATCH = ("sequences", "length", "microbatches")
