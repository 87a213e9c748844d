"""The parts of the model and of the batch that a rank has, as formulas of the rank r."""

from __future__ import annotations

from collections.abc import Collection
from math import prod

from parc.plan import placement
from parc.plan.blocks import Plan
from parc.plan.mesh import Mesh


def describe_assignment(plan: Plan) -> dict[str, str]:
    """The stage, the experts, the share of the sequences and the part of each split matrix of rank r."""
    found = {}
    if plan.pipeline:
        found["stage"] = format_index(plan.mesh, plan.pipeline.axes)
    count = len(placement.locate_experts(plan, 0))
    if plan.experts and count:
        first = format_index(plan.mesh, plan.experts.axes)
        found["experts"] = f"{count} from {_format_product(count, first)}" if count > 1 else first
    if plan.data:
        found["sequences"] = (
            f"share {format_index(plan.mesh, plan.data.axes)} of {plan.mesh.product(plan.data.axes)}"
        )
    if plan.tensor:
        found["tensor"] = (
            f"share {format_index(plan.mesh, plan.tensor.axes)} of {plan.mesh.product(plan.tensor.axes)}"
        )
    return found


def format_index(mesh: Mesh, names: Collection[str]) -> str:
    """The position of rank r in its group over the axes: `r // 4 % 4`."""
    digits = [
        (mesh.stride(axis.name), axis.size) for axis in mesh.axes if axis.name in names and axis.size > 1
    ]
    merged: list[tuple[int, int]] = []
    for stride, size in digits:
        if merged and merged[-1][0] == stride * size:  # neighbours in the mesh: one run of digits
            size *= merged.pop()[1]
        merged.append((stride, size))
    terms = []
    for at, (stride, size) in enumerate(merged):
        digit = "r" if stride == 1 else f"r // {stride}"
        if stride * size < mesh.size:
            digit += f" % {size}"
        terms.append(_format_product(prod(size for _, size in merged[at + 1 :]), digit))
    return " + ".join(terms) or "0"


def _format_product(factor: int, digit: str) -> str:
    if factor == 1 or digit == "0":
        return digit
    return f"{factor} * ({digit})" if " " in digit else f"{factor} * {digit}"
