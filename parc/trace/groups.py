"""Groups of ranks by the axes that they lie along."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

from parc.plan.mesh import Mesh


def axis_of(mesh: Mesh, ranks: Sequence[int]) -> str:
    """The axis whose group is `ranks`, or "dp+tp"; where they are no group of the mesh, the ranks."""
    axes = [axis for axis in mesh.axes if axis.size > 1]
    for count in range(1, len(axes) + 1):
        for some in combinations(axes, count):
            names = [axis.name for axis in some]
            if mesh.product(names) == len(ranks) and list(mesh.group(ranks[0], names)) == list(ranks):
                return "+".join(names)
    return f"ranks {', '.join(map(str, ranks))}"


def stages_of(mesh: Mesh, pipeline: str | None, axis: str, stage: int) -> tuple[int, ...]:
    """The stages of the members of a group over `axis`, as a rank of `stage` sees it, in order.

    None, where `axis` is no axis, nor several.
    """
    names = axis.split("+")
    if not set(names) <= set(mesh.names):
        return ()
    sizes = [mesh.axis(name).size for name in names]
    places = product(*map(range, sizes))
    return tuple(place[names.index(pipeline)] if pipeline in names else stage for place in places)
