"""Who communicates with whom: the groups of each strategy, in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from parc.plan.blocks import Plan
from parc.plan.mesh import Lattice


class Carried(NamedTuple):
    """A strategy over axes. `key` is the name that `parc/cost/network/traffic.py` has for its group."""

    key: str
    title: str
    axes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GroupSet:
    """All groups of one strategy: `count` of `size` ranks each, which partition the ranks."""

    carried: Carried
    size: int
    count: int
    span: tuple[tuple[str, int], ...]  # (level, units of it that one group touches), but for the outermost
    first: Lattice  # the group of rank 0


def carried(plan: Plan) -> tuple[Carried, ...]:
    """The strategies of a plan, in the order of the language."""
    data = plan.data.axes if plan.data else ()
    experts = plan.experts.axes if plan.experts else ()
    inside = plan.experts.tensor if plan.experts else ()
    copies = tuple(axis for axis in data if axis not in (*experts, *inside))
    found = [
        Carried("data", "data", data),
        Carried("tensor", "tensor", plan.tensor.axes if plan.tensor else ()),
        Carried("experts", "experts", experts),
        Carried("expert_tensor", "inside each expert", inside),
        Carried("expert_data", "copies of experts", copies if experts else ()),
        Carried("pipeline", "pipeline", plan.pipeline.axes if plan.pipeline else ()),
    ]
    return tuple(each for each in found if each.axes)


def group_sets(plan: Plan) -> tuple[GroupSet, ...]:
    return tuple(_of(plan, each) for each in carried(plan))


def _of(plan: Plan, each: Carried) -> GroupSet:
    groups = plan.mesh.groups(each.axes)
    levels = plan.cluster.levels
    touched = plan.mesh.count_units(each.axes, [level.size for level in levels])
    span = [(level.name, units) for level, units in zip(levels, touched, strict=True)]
    return GroupSet(each, plan.mesh.product(each.axes), len(groups), tuple(span[1:]), groups[0])


def formula(plan: Plan) -> str:
    """`(ep * 4 + pp) * 4 + tp`: the rank at coordinates."""
    axes = plan.mesh.axes
    if not axes:
        return "0"
    text = axes[0].name
    for index, axis in enumerate(axes[1:]):
        text = f"({text})" if index else text
        text = f"{text} * {axis.size} + {axis.name}"
    return text


def ranges(ranks: Lattice, most: int = 4) -> str:
    """The ranks as runs, `0-3, 16-19, .., 112-115`: at most so many runs, the last one always told."""
    run, outer = 1, list(ranks.digits)
    while outer and (outer[-1][0] == 1 or outer[-1][1] == run):
        run *= outer.pop()[0]
    starts = Lattice(ranks.base, outer)

    def told(index: int) -> str:
        start = starts[index]
        return str(start) if run == 1 else f"{start}-{start + run - 1}"

    if len(starts) <= most:
        return ", ".join(map(told, range(len(starts))))
    return ", ".join([*map(told, range(most - 2)), "..", told(len(starts) - 1)])


def units(span: tuple[tuple[str, int], ...]) -> Iterator[str]:
    """`8 nodes`, of each level."""
    return (f"{count:,} {level}{'s' if count > 1 else ''}" for level, count in span)
