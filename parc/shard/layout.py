"""What a plan says, as far as propagation reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from parc.ir.states import I, S, State
from parc.plan.blocks import Plan


@dataclass(frozen=True)
class Layout:
    """Which axes a model is laid over, and what each carries."""

    axes: tuple[str, ...]  # all but the pipeline's, outermost first
    sizes: Mapping[str, int]
    data: tuple[str, ...] = ()
    tensor: str | None = None
    sequence: bool = False
    experts: str | None = None
    experts_tensor: str | None = None
    column: tuple[str, ...] = ()
    row: tuple[str, ...] = ()
    replicate: tuple[str, ...] = ()
    batch: int = 1  # sequences of a microbatch
    length: int = 1

    def settle(self, shape: tuple[int, ...], axis: str) -> State:
        """Where a partial sum goes: to shares of the sequence where the plan shards it, else everywhere.

        One number a token, such as a mean over a cut dim, is read with what was cut: it goes everywhere.
        """
        if self.sequence and axis == self.tensor:
            if shape[:2] == (self.batch, self.length) and prod(shape[2:]) > 1:
                return S(1)
            if shape[:1] == (self.batch * self.length,) and prod(shape[1:]) > 1:
                return S(0, self.batch)
        return I


def derive_layout(plan: Plan) -> Layout:
    """The layout of a plan. Axes of one rank carry nothing: they are left out."""
    pipeline = plan.pipeline.axes if plan.pipeline else ()
    sizes = {axis.name: axis.size for axis in plan.mesh.axes}
    axes = tuple(name for name, size in sizes.items() if name not in pipeline and size > 1)
    batch, tensor, experts = plan.train.batch, plan.tensor, plan.experts

    def find(asked: tuple[str, ...]) -> str | None:
        return next((axis for axis in asked if axis in axes), None)

    over = find(tensor.axes) if tensor else None
    return Layout(
        axes,
        sizes,
        tuple(axis for axis in axes if plan.data and axis in plan.data.axes),
        over,
        bool(tensor and tensor.sequence and over),
        find(experts.axes) if experts else None,
        find(experts.tensor) if experts else None,
        tensor.column if tensor else (),
        tensor.row if tensor else (),
        tensor.replicate if tensor else (),
        batch.sequences // batch.microbatches,
        batch.length,
    )
