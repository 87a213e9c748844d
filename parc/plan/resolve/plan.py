"""Resolves `plan` blocks."""

from __future__ import annotations

from typing import Literal, TypeAlias

from parc.plan import blocks
from parc.plan.mesh import Axis, Mesh
from parc.plan.resolve.expect import resolve_claims
from parc.plan.resolve.reader import BlockReader
from parc.plan.resolve.strategies import Strategies

MAX_RANKS = 2**30
Recompute: TypeAlias = Literal["none", "attention", "experts", "layer"]


def resolve_plan(
    name: str, block: BlockReader, train: blocks.Train | None, cluster: blocks.Cluster | None
) -> blocks.Plan | None:
    """A plan. `train` and `cluster` are None if they could not be resolved; the result is then None, too."""
    mesh = _resolve_mesh(block)
    layout = Strategies(block, mesh)
    data, tensor, experts = layout.resolve_data(), layout.resolve_tensor(), layout.resolve_experts()
    pipeline = layout.resolve_pipeline(train.model.shape if train else None)
    recompute: Recompute = block.read_choice("recompute", "none")
    expected = block.read_block("expect")
    levels = [level.name for level in cluster.levels] if cluster else []
    expect = resolve_claims(expected, levels) if expected else ()
    if not block.finish() or not layout.sound or mesh is None or train is None or cluster is None:
        return None
    return blocks.Plan(
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
        misread=block.damaged or any(block.form.find_block(kind) is None for kind in block.blocks),
        span=block.span,
        spans=block.spans,
    )


def _resolve_mesh(block: BlockReader) -> Mesh | None:
    mesh = Mesh(tuple(Axis(*each) for each in block.read_sizes("mesh")))
    if mesh.size > MAX_RANKS:
        message = f"a mesh has at most {MAX_RANKS:,} ranks"
        block.report("P111", block.spans["mesh"], message, f"this one has {mesh.size:,}")
        return None
    return mesh if mesh.axes else None
