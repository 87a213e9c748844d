"""Layouts that keep the experts within a node where no order of the axes does.

Two are known: the experts' axis in two, of which the inner one carries experts and both carry data, so that
every node has all of them; and experts over the tensor axis, which lies in a node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from parc.check.advice import alternatives
from parc.check.advice.alternatives import Alternative, written
from parc.check.costs import Costs
from parc.check.edits import Edit, replaced, without_option
from parc.diagnostic import Severity
from parc.plan.blocks import Plan
from parc.plan.mesh import Axis, Mesh

MOST_INSIDE = 1024  # ranks of the inner axis
NAMES = ("dp", "replica", "outer")  # for the axis that a split adds


def nearer(plan: Plan) -> Iterator[Alternative]:
    """Whether they are legal is for `legal` to say, and whether they are faster for their price."""
    if leaves(plan, "experts") and not any(
        keeps(plan, each.costs.plan) for each in alternatives.orders(plan)
    ):
        yield from _split(plan)
        yield from _over_tensors(plan)


def legal(plan: Plan, other: Plan) -> bool:
    """Whether the rules find no error and no warning in the other plan that they do not find in the first."""
    return not _told(other) - _told(plan)


def keeps(plan: Plan, other: Plan) -> bool:
    """Whether the other plan keeps experts in a node, and does not let those of `tensor` leave it instead."""
    return not leaves(other, "experts") and leaves(other, "tensor") <= leaves(plan, "tensor")


def leaves(plan: Plan, strategy: str) -> bool:
    """Whether groups of a strategy leave a unit of the innermost level."""
    block, levels = getattr(plan, strategy), [level.size for level in plan.cluster.levels]
    return block is not None and plan.mesh.count_units(block.axes, levels)[-1] > 1


def _told(plan: Plan) -> set[str]:
    """Codes of the errors and warnings of a plan that is tried."""
    from parc.check.rules import CHECKS  # which asks for all this

    tried = replace(plan, tried=True, expect=())
    found = (each for rule in CHECKS.rules for each in rule.run(tried))
    return {each.code for each in found if each.severity is not Severity.INFO}


def _split(plan: Plan) -> Iterator[Alternative]:
    experts, data, mesh = plan.experts, plan.data, plan.mesh
    if experts is None or data is None or len(experts.axes) != 1 or experts.axes[0] not in data.axes:
        return
    name = experts.axes[0]
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
        for ordered in (split, *(each.costs.plan for each in alternatives.orders(split))):
            if keeps(plan, ordered):
                listed = written(ordered.mesh)
                edits: tuple[Edit, ...] = (
                    replaced(plan.spans["mesh"], listed),
                    replaced(entry, f"{new}, {name}"),
                )
                text = f"mesh = {listed}` and `data over [{', '.join(over)}]"
                yield Alternative(text, Costs(ordered), edits if "#" not in plan.spans["mesh"].text else ())
                return  # the largest inner axis that a node has room for


def _over_tensors(plan: Plan) -> Iterator[Alternative]:
    experts, tensor = plan.experts, plan.tensor
    if experts is None or tensor is None or set(experts.axes) & set(tensor.axes) or leaves(plan, "tensor"):
        return
    if plan.mesh.product(tensor.axes) == 1:
        return
    split = tuple(axis for axis in experts.tensor if axis not in tensor.axes)
    other = replace(experts, axes=tensor.axes, tensor=split)
    listed = f"[{', '.join(tensor.axes)}]"
    edits = [replaced(experts.at("axes"), listed)]
    if split != experts.tensor:
        if split:
            edits.append(replaced(experts.at("tensor"), f"[{', '.join(split)}]"))
        else:
            edits.append(without_option(experts, "tensor"))
    yield Alternative(f"experts over {listed}", Costs(replace(plan, experts=other)), tuple(edits))
