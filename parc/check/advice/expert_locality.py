"""Layouts that keep the experts within a node where no order of the axes does.

Two are known: the experts' axis in two, of which the inner one carries experts and both carry data, so that
every node has all of them; and experts over the tensor axis, which lies in a node.
"""

from __future__ import annotations

from collections.abc import Iterator

from parc.check.advice.alternatives import Alternative, format_mesh, reorder_axes
from parc.check.edits import remove_key, replace_text
from parc.check.lints.locality import leaves_unit
from parc.plan.blocks import Plan
from parc.plan.mesh import Axis, Mesh
from parc.record import replace

MOST_INSIDE = 1024  # ranks of the inner axis
NAMES = ("dp", "replica", "outer")  # for the axis that a split adds


def keep_experts_in(plan: Plan) -> Iterator[Alternative]:
    """Such layouts. Whether they are legal and faster is still to be judged."""
    if leaves_unit(plan, "experts") and not any(_keeps(plan, each.plan) for each in reorder_axes(plan)):
        yield from _split_axis(plan)
        yield from _use_tensor_axis(plan)


def _keeps(plan: Plan, other: Plan) -> bool:
    """Whether the other plan keeps experts in a node, and does not let those of `tensor` leave it instead."""
    out = leaves_unit(other, "tensor") and not leaves_unit(plan, "tensor")
    return not leaves_unit(other, "experts") and not out


def _split_axis(plan: Plan) -> Iterator[Alternative]:
    experts, data, mesh = plan.experts, plan.data, plan.mesh
    if experts is None or data is None or len(experts.axes) != 1 or experts.axes[0] not in data.axes:
        return
    name = experts.axes[0]
    if name in data.shard_over:  # it would have to name both parts
        return
    new = next((each for each in NAMES if each not in mesh.names), None)
    at, size = data.axes.index(name), mesh.axis(name).size
    entry = data.spans.get(f"axes.{at}")
    if new is None or entry is None or "mesh" not in plan.spans:
        return
    over = (*data.axes[:at], new, *data.axes[at:])
    most = min(size // 2, plan.cluster.levels[-1].size, MOST_INSIDE)
    for inner in (each for each in range(most, 1, -1) if size % each == 0):
        axes: list[Axis] = []
        for axis in mesh.axes:
            axes += [Axis(new, size // inner), Axis(name, inner)] if axis.name == name else [axis]
        split = replace(plan, mesh=Mesh(tuple(axes)), data=replace(data, axes=over))
        for ordered in (split, *(each.plan for each in reorder_axes(split))):
            if _keeps(plan, ordered):
                listed = format_mesh(ordered.mesh)
                text = f"mesh = {listed}` and `data over [{', '.join(over)}]"
                edits = (replace_text(plan.spans["mesh"], listed), replace_text(entry, f"{new}, {name}"))
                commented = "#" in plan.spans["mesh"].text
                yield Alternative(text, ordered, () if commented else edits)
                return  # the largest inner axis that a node has room for


def _use_tensor_axis(plan: Plan) -> Iterator[Alternative]:
    experts, tensor = plan.experts, plan.tensor
    if (
        experts is None
        or tensor is None
        or set(experts.axes) & set(tensor.axes)
        or leaves_unit(plan, "tensor")
    ):
        return
    if plan.mesh.product(tensor.axes) == 1:
        return
    split = tuple(axis for axis in experts.tensor if axis not in tensor.axes)
    other = replace(plan, experts=replace(experts, axes=tensor.axes, tensor=split))
    listed = f"[{', '.join(tensor.axes)}]"
    edits = [replace_text(experts.at("axes"), listed)]
    if split != experts.tensor:
        rest = replace_text(experts.at("tensor"), f"[{', '.join(split)}]")
        edits.append(rest if split else remove_key(experts, "tensor"))
    yield Alternative(f"experts over {listed}", other, tuple(edits))
