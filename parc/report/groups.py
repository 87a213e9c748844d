"""The groups of ranks that communicate for each strategy, in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from parc.plan.blocks import Plan
from parc.plan.mesh import Lattice


class Strategy(NamedTuple):
    """A strategy over axes. `key` is the name that `parc/cost/network/traffic.py` has for its group."""

    key: str
    title: str
    axes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GroupSet:
    """All groups of one strategy: `count` of `size` ranks each, which partition the ranks."""

    strategy: Strategy
    size: int
    count: int
    units: tuple[tuple[str, int], ...]  # (level, units that one group touches), without the outermost
    first: Lattice  # the group of rank 0


def list_strategies(plan: Plan) -> tuple[Strategy, ...]:
    """The strategies of a plan, in the order of the language."""
    data = plan.list_axes("data")
    experts = plan.list_axes("experts")
    inside = plan.experts.tensor if plan.experts else ()
    copies = tuple(axis for axis in data if axis not in (*experts, *inside))
    found = [
        Strategy("data", "data", data),
        Strategy("tensor", "tensor", plan.list_axes("tensor")),
        Strategy("experts", "experts", experts),
        Strategy("expert_tensor", "inside each expert", inside),
        Strategy("expert_data", "copies of experts", copies if experts else ()),
        Strategy("pipeline", "pipeline", plan.list_axes("pipeline")),
    ]
    return tuple(each for each in found if each.axes)


def list_group_sets(plan: Plan) -> tuple[GroupSet, ...]:
    return tuple(_build_group_set(plan, each) for each in list_strategies(plan))


def _build_group_set(plan: Plan, each: Strategy) -> GroupSet:
    groups = plan.mesh.groups(each.axes)
    levels = plan.cluster.levels
    touched = plan.mesh.count_units(each.axes, [level.size for level in levels])
    span = [(level.name, units) for level, units in zip(levels, touched, strict=True)]
    return GroupSet(each, plan.mesh.product(each.axes), len(groups), tuple(span[1:]), groups[0])


def format_ranks(ranks: Lattice, most: int = 4) -> str:
    """The ranks as runs: `0-3, 16-19, .., 112-115`. At most `most` runs, the last one included."""
    run, outer = 1, list(ranks.digits)
    while outer and (outer[-1][0] == 1 or outer[-1][1] == run):
        run *= outer.pop()[0]
    starts = Lattice(ranks.base, outer)

    def format_run(index: int) -> str:
        start = starts[index]
        return str(start) if run == 1 else f"{start}-{start + run - 1}"

    if len(starts) <= most:
        return ", ".join(map(format_run, range(len(starts))))
    return ", ".join([*map(format_run, range(most - 2)), "..", format_run(len(starts) - 1)])


def format_units(span: tuple[tuple[str, int], ...]) -> Iterator[str]:
    """The units of each level: `8 nodes`."""
    return (f"{count:,} {level}{'s' if count > 1 else ''}" for level, count in span)
