"""`plan` and `launch` blocks."""

from __future__ import annotations

from typing import Literal, TypeAlias

from parc.plan import blocks as facts
from parc.plan.mesh import Axis, Mesh
from parc.plan.resolve.expect import claims
from parc.plan.resolve.reader import Reader
from parc.plan.resolve.scope import Quantity, Word
from parc.plan.suggest import did_you_mean, respelling
from parc.syntax import tree

MOST_RANKS = 2**30
MOST_STAGES = 2**20
Recompute: TypeAlias = Literal["none", "attention", "experts", "layer"]


def plan(
    name: str, block: Reader, train: facts.Train | None, cluster: facts.Cluster | None
) -> facts.Plan | None:
    mesh = _mesh(block)
    layout = _Layout(block, mesh)
    data, tensor, experts = layout.data(), layout.tensor(), layout.experts()
    pipeline = layout.pipeline(train.model.shape.layers if train else None)
    recompute: Recompute = block.choice("recompute", "none")
    expected = block.block("expect")
    levels = [level.name for level in cluster.levels] if cluster else []
    expect = claims(expected, levels) if expected else ()
    if not block.finish() or not layout.sound or mesh is None or train is None or cluster is None:
        return None
    return facts.Plan(
        name=name,
        train=train,
        cluster=cluster,
        mesh=mesh,
        data=data,
        tensor=tensor,
        experts=experts,
        pipeline=pipeline,
        recompute=recompute,
        expect=expect,
        misread=block.damaged or any(block.form.block(kind) is None for kind in block.blocks),
        span=block.span,
        spans=block.spans,
    )


def _mesh(block: Reader) -> Mesh | None:
    mesh = Mesh(tuple(Axis(*each) for each in block.sizes("mesh", "[ep: 8, tp: 4]")))
    if mesh.size > MOST_RANKS:
        message = f"a mesh has at most {MOST_RANKS:,} ranks"
        block.fault("P111", block.spans["mesh"], message, f"this one has {mesh.size:,}")
        return None
    return mesh if mesh.axes else None


class _Layout:
    """The strategies of one plan. `sound`: each of them could be read."""

    def __init__(self, block: Reader, mesh: Mesh | None) -> None:
        self.block = block
        self.mesh = mesh
        self.sound = True

    def data(self) -> facts.Data | None:
        inner, axes = self.strategy("data")
        if inner is None:
            return None
        data = facts.Data(
            axes=axes,
            shard=inner.choice("shard", "none"),
            span=inner.span,
            spans=inner.spans,
        )
        self.sound &= inner.finish()
        return data

    def tensor(self) -> facts.Tensor | None:
        inner, axes = self.strategy("tensor")
        if inner is None:
            return None
        tensor = facts.Tensor(
            axes=axes,
            sequence=inner.flag("sequence", False),
            column=inner.texts("column"),
            row=inner.texts("row"),
            replicate=inner.texts("replicate"),
            span=inner.span,
            spans=inner.spans,
        )
        self.sound &= inner.finish()
        return tensor

    def experts(self) -> facts.Experts | None:
        inner, axes = self.strategy("experts")
        if inner is None:
            return None
        split = self.axes(inner, "tensor", inner.node("tensor"))
        self.sound &= inner.finish()
        return facts.Experts(axes=axes, tensor=split, span=inner.span, spans=inner.spans)

    def pipeline(self, model_layers: int | None) -> facts.Pipeline | None:
        inner, axes = self.strategy("pipeline")
        if inner is None:
            return None
        schedule = inner.choice("schedule", "1f1b")
        chunks = inner.count_or("chunks", 1)
        layers = inner.counts("layers", least=0)
        if layers is None and "layers" not in inner.assignments:
            if model_layers is not None and self.mesh:
                layers = self.spread(inner, model_layers, self.mesh.product(axes) * chunks)
            elif "layers" not in inner.assignments and self.block.sound and model_layers is None:
                help = "or say in the model's `shape` how many `layers` there are"
                inner.fault("P104", inner.head, "the pipeline needs `layers`", "`layers` is missing", help)
        self.sound &= inner.finish() and layers is not None
        return facts.Pipeline(
            axes=axes,
            schedule=schedule,
            chunks=chunks,
            layers=layers or (),
            span=inner.span,
            spans=inner.spans,
        )

    def spread(self, inner: Reader, layers: int, stages: int) -> tuple[int, ...] | None:
        """The layers of each stage; None where there are too many to be listed, which is told."""
        if MOST_STAGES < stages <= layers:
            message = f"a pipeline has at most {MOST_STAGES:,} stages, not {stages:,}"
            inner.fault("P005", inner.head, message, f"{stages:,} stages")
            return None
        return spread(layers, stages)

    def strategy(self, kind: str) -> tuple[Reader | None, tuple[str, ...]]:
        """The reader of `kind over [..] { .. }`, and the axes."""
        blocks = self.block.all_blocks(kind)
        if not blocks:
            return None, ()
        for again in blocks[1:]:
            self.block.twice(kind, blocks[0].kind.span, again.kind.span)
            self.sound = False
        inner = self.block.enter(blocks[0])
        return inner, self.axes(inner, "axes", blocks[0].over)

    def axes(self, inner: Reader, key: str, node: tree.Expression | None) -> tuple[str, ...]:
        """The names of axes in a list: those that the mesh has."""
        known = self.mesh.names if self.mesh else ()
        found = inner.names(key, node)
        for name in found:
            if self.mesh and name not in known:
                span = inner.spans[f"{key}.{name}"]
                help, fix = did_you_mean(name, known), respelling(span, name, known)
                inner.fault("P301", span, f"the mesh has no axis `{name}`", "unknown axis", help, fix)
                self.sound = False
        return tuple(name for name in found if name in known)


def spread(layers: int, stages: int) -> tuple[int, ...]:
    """As even as possible, the longer stages first.

    Empty where there are not as many layers as stages, or more stages than a plan may have.
    """
    if stages > min(layers, MOST_STAGES):
        return ()
    least, longer = divmod(layers, stages)
    return (least + 1,) * longer + (least,) * (stages - longer)


def launch(kind: str, plan: str, block: Reader) -> facts.Launch:
    options: dict[str, facts.Scalar] = {}
    for key in block.assignments:
        value = block.word(key)
        if isinstance(value, Quantity):
            options[key] = value.number
        elif isinstance(value, Word):
            options[key] = value.text
        elif isinstance(value, bool | str):
            options[key] = value
    block.finish()
    return facts.Launch(kind=kind, plan=plan, options=options, span=block.span, spans=block.spans)
