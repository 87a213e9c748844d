"""What is said of the axes of a mesh, and of what is laid over them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from parc.check.claims.figures import figure
from parc.check.claims.verdict import shown
from parc.check.costs import Unknown, costs
from parc.check.rules.axes import uses
from parc.plan.blocks import Claim, Plan
from parc.plan.mesh import Lattice

SHOWN = 8  # ranks of a group, or groups
MEMORY = {"data": "optimizer", "experts": "parameters", "pipeline": "activations", "tensor": "activations"}
"""What of a device's memory each strategy is laid out for."""
FIGURES = ("ranks", "groups", "sent", "time")


def of_axis(plan: Plan, name: str) -> str:
    """Its groups, how far they reach, and what it carries."""
    if name not in plan.mesh.names:
        return f"the mesh of `{plan.name}` has no axis `{name}`"
    size, stride = plan.mesh.axis(name).size, plan.mesh.stride(name)
    groups = plan.mesh.groups([name])
    first = ", ".join(map(ranks, islice(groups, 3)))
    carried = list(dict.fromkeys(use.strategy for use in uses(plan)[name]))
    lines = [
        f"**axis** `{name}`: {size:,} ranks, {stride:,} apart",
        "",
        f"{len(groups):,} groups: {first}{', ..' if len(groups) > 3 else ''}",
        "",
        f"carries {', '.join(carried) if carried else 'nothing'}",
        "",
        reach(plan, (name,)),
    ]
    return "\n".join(lines)


def reach(plan: Plan, axes: tuple[str, ...]) -> str:
    """How many units of each level below the whole cluster one group touches."""
    levels = plan.cluster.levels
    touched = plan.mesh.count_units(axes, [level.size for level in levels])
    told = [
        f"{count:,} {level.name}{'s' if count > 1 else ''}"
        for level, count in zip(levels[1:], touched[1:], strict=True)
    ]
    return f"one group is within {' and '.join(told)}" if told else "the cluster has one level"


def ranks(group: Lattice) -> str:
    shown = ", ".join(str(rank) for rank in islice(group, SHOWN))
    return f"[{shown}{', ..' if len(group) > SHOWN else ''}]"


def of_strategy(plan: Plan, kind: str) -> tuple[str, ...]:
    """Bytes, memory and time, a line each, with the grade of each figure."""
    block = getattr(plan, kind, None)
    if block is None:
        return ()
    return (*_figures(plan, kind), reach(plan, block.axes))


def _figures(plan: Plan, kind: str) -> Iterator[str]:
    for name in (*(f"{kind}.{key}" for key in FIGURES), f"memory.{MEMORY[kind]}"):
        claim = Claim(subject=name, relation="==", value=0.0, span=plan.span)
        try:
            found = figure(costs(plan), claim)
        except Unknown as reason:
            yield f"{name}: unknown, {reason}"
        else:
            yield f"{name} = {shown(found)} ({found.grade}): {found.how}"
