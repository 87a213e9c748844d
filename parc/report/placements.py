"""Where the parts of a model and of a batch are, as a formula of the rank r, whatever the size."""

from __future__ import annotations

from collections.abc import Collection
from math import prod

from parc.plan import placement
from parc.plan.blocks import Plan
from parc.plan.mesh import Mesh


def homes(of: Plan) -> dict[str, str]:
    """Which stage, experts and share of the sequences rank r has, and which part of each split matrix."""
    found = {}
    if of.pipeline:
        found["stage"] = index(of.mesh, of.pipeline.axes)
    count = len(placement.locate_experts(of, 0))
    if of.experts and count:
        first = index(of.mesh, of.experts.axes)
        found["experts"] = f"{count} from {_times(count, first)}" if count > 1 else first
    if of.data:
        found["sequences"] = f"share {index(of.mesh, of.data.axes)} of {of.mesh.product(of.data.axes)}"
    if of.tensor:
        found["tensor"] = f"share {index(of.mesh, of.tensor.axes)} of {of.mesh.product(of.tensor.axes)}"
    return found


def index(mesh: Mesh, names: Collection[str]) -> str:
    """`r // 4 % 4`: the position of rank r in its group over the axes."""
    digits = [
        (mesh.stride(axis.name), axis.size) for axis in mesh.axes if axis.name in names and axis.size > 1
    ]
    merged: list[tuple[int, int]] = []
    for stride, size in digits:
        if merged and merged[-1][0] == stride * size:  # its neighbour in the mesh too: one run of digits
            size *= merged.pop()[1]
        merged.append((stride, size))
    terms = []
    for at, (stride, size) in enumerate(merged):
        digit = "r" if stride == 1 else f"r // {stride}"
        if stride * size < mesh.size:
            digit += f" % {size}"
        terms.append(_times(prod(size for _, size in merged[at + 1 :]), digit))
    return " + ".join(terms) or "0"


def _times(factor: int, digit: str) -> str:
    if factor == 1 or digit == "0":
        return digit
    return f"{factor} * ({digit})" if " " in digit else f"{factor} * {digit}"
