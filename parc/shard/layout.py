"""What a plan says, as far as propagation reads it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

from parc.ir.states import I, S, State
from parc.plan.blocks import Plan
from parc.plan.mesh import split_group_name
from parc.plan.placement import count_balance_groups


@dataclass(frozen=True)
class Layout:
    """Which axes a model is laid over, and what each carries.

    The axes of `tensor` are one axis of the propagation, so that a collective is issued over all of them at
    once: with `tensor over [a, b]`, `axes` has `a+b` in their place. So are the axes that only experts use.
    """

    axes: tuple[str, ...]  # all but the pipeline's, outermost first
    sizes: Mapping[str, int]  # of the axes of the mesh, outermost first, and of groups over several
    data: tuple[str, ...] = ()
    tensor: str | None = None
    sequence: bool = False
    experts: tuple[str, ...] = ()  # axes of the mesh, as are those of `experts_tensor`
    experts_tensor: tuple[str, ...] = ()
    column: tuple[str, ...] = ()
    row: tuple[str, ...] = ()
    replicate: tuple[str, ...] = ()
    batch: int = 1  # sequences of a microbatch
    length: int = 1
    capacity: float | None = None  # of experts
    balance_of_ranks: bool = False  # each rank of `data` has a balance loss of its own tokens

    @cached_property
    def inside_experts(self) -> Layout:
        """The layout of what one rank does with its experts: the axes that split each are one axis."""
        split = self.experts_tensor
        return replace(
            self,
            axes=self.join_axes(self.split_groups(self.axes), split),
            tensor=self.name_group(split) if split else None,
            sequence=False,
        )

    def order_axes(self, axes: Iterable[str]) -> tuple[str, ...]:
        """Axes of the mesh, outermost first."""
        given = set(axes)
        return tuple(axis for axis in self.sizes if axis in given)

    def split_groups(self, groups: Iterable[str]) -> tuple[str, ...]:
        """The axes of the mesh that groups lie over, outermost first."""
        return self.order_axes(axis for group in groups for axis in split_group_name(group))

    def order_groups(self, groups: Iterable[str]) -> tuple[str, ...]:
        """Names of groups, by their axes, outermost first."""
        places = [*self.sizes]
        return tuple(sorted(groups, key=lambda group: [*map(places.index, split_group_name(group))]))

    def name_group(self, axes: Iterable[str]) -> str:
        """The name of the groups over axes of the mesh."""
        return "+".join(self.order_axes(axes))

    def join_axes(self, axes: tuple[str, ...], joined: Collection[str]) -> tuple[str, ...]:
        """The axes with one in the place of the first of those that are `joined`."""
        named = (self.name_group(joined) if axis in joined else axis for axis in axes)
        return tuple(dict.fromkeys(named))

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
    pipeline = plan.list_axes("pipeline")
    axes = tuple(name for name, size in plan.mesh.axes if name not in pipeline and size > 1)
    batch, tensor, experts = plan.train.batch, plan.tensor, plan.experts
    approximate = plan.train.approximate

    def find(asked: Collection[str]) -> tuple[str, ...]:
        return tuple(axis for axis in axes if axis in asked)

    over = find(tensor.axes) if tensor else ()
    used = (*experts.axes, *experts.tensor) if experts else ()
    alone = find([axis for axis in used if axis not in (*over, *plan.list_axes("data"))])
    layout = Layout(
        axes,
        plan.mesh.sizes,
        find(plan.list_axes("data")),
        plan.mesh.name_group(over) if over else None,
        bool(tensor and tensor.sequence and over),
        find(experts.axes) if experts else (),
        find(experts.tensor) if experts else (),
        tensor.column if tensor else (),
        tensor.row if tensor else (),
        tensor.replicate if tensor else (),
        batch.sequences // batch.microbatches,
        batch.length,
        approximate.capacity if approximate else None,
        count_balance_groups(plan) > 1,
    )
    return replace(layout, axes=layout.join_axes(layout.join_axes(axes, over), alone))
