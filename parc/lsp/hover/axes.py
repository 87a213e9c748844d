"""Describes the axes of a mesh, and the strategies over them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from parc.check.claims.figures import derive_figure
from parc.check.claims.verdict import format_value
from parc.check.costs import Costs, Unknown
from parc.check.rules.axes import find_uses
from parc.lsp.markdown import format_code
from parc.plan.blocks import Plan
from parc.plan.mesh import Lattice

MAX_RANKS = 8  # of a group that are listed
MAX_GROUPS = 3
MEMORY = {"data": "optimizer", "experts": "parameters", "pipeline": "activations", "tensor": "activations"}
"""The kind of memory that each strategy is used to save."""
FIGURES = ("ranks", "groups", "sent", "time")


def describe_axis(plan: Plan, name: str) -> str:
    """The groups of an axis, how many units of each level they touch, and what the axis carries."""
    if name not in plan.mesh.names:
        return f"the mesh of {format_code(plan.name)} has no axis {format_code(name)}"
    size, stride = plan.mesh.axis(name).size, plan.mesh.stride(name)
    groups = plan.mesh.groups([name])
    first = ", ".join(map(_format_ranks, islice(groups, MAX_GROUPS)))
    carried = list(dict.fromkeys(use.strategy for use in find_uses(plan)[name]))
    lines = [
        f"**axis** {format_code(name)}: {size:,} ranks, {stride:,} apart",
        "",
        f"{len(groups):,} groups: {first}{', ..' if len(groups) > MAX_GROUPS else ''}",
        "",
        f"carries {', '.join(carried) if carried else 'nothing'}",
        "",
        _describe_span(plan, (name,)),
    ]
    return "\n".join(lines)


def _describe_span(plan: Plan, axes: tuple[str, ...]) -> str:
    """How many units of each level below the whole cluster one group touches."""
    levels = plan.cluster.levels
    touched = plan.mesh.count_units(axes, [level.size for level in levels])
    units = [
        f"{count:,} {level.name}{'s' if count > 1 else ''}"
        for level, count in zip(levels[1:], touched[1:], strict=True)
    ]
    return f"one group is within {' and '.join(units)}" if units else "the cluster has one level"


def _format_ranks(group: Lattice) -> str:
    ranks = ", ".join(str(rank) for rank in islice(group, MAX_RANKS))
    return f"[{ranks}{', ..' if len(group) > MAX_RANKS else ''}]"


def describe_strategy(costs: Costs, kind: str) -> tuple[str, ...]:
    """Its groups, bytes, time and memory, one figure a line, each with its grade; () if the plan has none."""
    block = getattr(costs.plan, kind, None)
    if block is None:
        return ()
    return (*_list_figures(costs, kind), _describe_span(costs.plan, block.axes))


def _list_figures(costs: Costs, kind: str) -> Iterator[str]:
    for name in (*(f"{kind}.{key}" for key in FIGURES), f"memory.{MEMORY[kind]}"):
        try:
            figure = derive_figure(costs, name)
        except Unknown as reason:
            yield f"{name}: unknown, {reason}"
        else:
            yield f"{name} = {format_value(figure)} ({figure.grade}): {figure.how}"
