"""Groups of ranks by the axes that they lie along."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

from parc.plan.mesh import Mesh


def name_group(mesh: Mesh, ranks: Sequence[int]) -> str:
    """The axis whose group is `ranks`, or "dp+tp"; the ranks where they are no group of the mesh."""
    axes = [axis for axis in mesh.axes if axis.size > 1]
    for count in range(1, len(axes) + 1):
        for some in combinations(axes, count):
            names = [axis.name for axis in some]
            if mesh.product(names) == len(ranks) and list(mesh.group(ranks[0], names)) == list(ranks):
                return "+".join(names)
    return f"ranks {', '.join(map(str, ranks))}"


def list_member_stages(mesh: Mesh, pipeline: str | None, axis: str, stage: int) -> tuple[int, ...]:
    """The stage of each member of the group over `axis` that a rank of `stage` is in, in order.

    Empty where `axis` does not name axes of the mesh.
    """
    names = axis.split("+")
    if not set(names) <= set(mesh.names):
        return ()
    sizes = [mesh.axis(name).size for name in names]
    places = product(*map(range, sizes))
    return tuple(place[names.index(pipeline)] if pipeline in names else stage for place in places)
