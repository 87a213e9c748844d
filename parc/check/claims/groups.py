"""Claims about the groups of a strategy: how many, how large, how far they reach, what they send."""

from __future__ import annotations

from math import prod

from parc.check.costs import Costs
from parc.cost.figure import Figure, add_figures
from parc.cost.job.parallelism import FanOut, GroupName
from parc.cost.network.collective_times import PREDICTORS, find_neighbour_link, predict_send
from parc.cost.network.link_levels import count_sent_bytes, grade_sent_bytes
from parc.cost.network.traffic import Transfer, bound_other_bytes

MEMBERS = 4  # of a group that are shown; of a larger one two, and the last
OVER: dict[str, tuple[GroupName, ...]] = {
    "data": ("data", "expert_data"),
    "tensor": ("tensor",),
    "experts": ("experts", "expert_tensor"),
    "pipeline": ("pipeline",),
}


def axes(costs: Costs, strategy: str) -> tuple[str, ...]:
    block = getattr(costs.plan, strategy)
    return block.axes if block else ()


def ranks(costs: Costs, strategy: str) -> Figure:
    names = axes(costs, strategy)
    how = f"{_sizes(costs, names)}: rank 0 is with {members(costs, names)}"
    return _count(f"ranks of a group of {strategy}", costs.plan.mesh.product(names), how)


def groups(costs: Costs, strategy: str) -> Figure:
    all, one = costs.plan.mesh.size, costs.plan.mesh.product(axes(costs, strategy))
    return _count(f"groups of {strategy}", all // one, f"{all:,} ranks / {one:,} a group")


def stride(costs: Costs, strategy: str) -> Figure:
    names = axes(costs, strategy)
    apart = min((costs.plan.mesh.stride(name) for name in names), default=0)
    return _count(f"ranks between neighbours of {strategy}", apart, f"rank 0 is with {members(costs, names)}")


def touched(costs: Costs, strategy: str, level: str) -> Figure:
    """How many units of a level one group touches."""
    plan, names = costs.plan, axes(costs, strategy)
    sizes = [each.size for each in plan.cluster.levels]
    index = next(at for at, each in enumerate(plan.cluster.levels) if each.name == level)
    unit = 1
    for size in sizes[index:]:
        unit *= size
    count = plan.mesh.count_units(names, sizes)[index]
    how = f"rank 0 is with {members(costs, names)}; a {level} has {unit:,} devices"
    nests = plan.mesh.nests(unit)
    how += "" if nests else "; they cut the mesh oddly: no group touches more"
    return Figure(f"{level}s of a group of {strategy}", count, "", how, "exact" if nests else "estimated")


def members(costs: Costs, names: tuple[str, ...]) -> str:
    """`{0, 16, .., 112}`: rank 0's group."""
    group = costs.plan.mesh.group(0, names)
    shown = [f"{group[index]:,}" for index in range(min(len(group), MEMBERS))]
    if len(group) > MEMBERS:
        shown = [*shown[:2], "..", f"{group[-1]:,}"]
    return "{" + ", ".join(shown) + "}"


def buffers(costs: Costs, strategy: str) -> Figure:
    """Bytes, of the device that gives most."""
    return max((_buffers(costs, strategy, rank) for rank in costs.unlike), key=lambda figure: figure.value)


def sent(costs: Costs, strategy: str) -> Figure:
    """Bytes over all levels of the network, of the device that sends most: `TRAFFIC` of `parc explain`."""
    return max((_sent(costs, strategy, rank) for rank in costs.unlike), key=lambda figure: figure.value)


def seconds(costs: Costs, strategy: str) -> Figure:
    return max((_seconds(costs, strategy, rank) for rank in costs.unlike), key=lambda figure: figure.value)


def largest(costs: Costs, strategy: str) -> Figure:
    """Bytes of the largest call."""
    moved = [each for rank in costs.unlike for each in _moved(costs, strategy, rank)]
    if not moved:
        return _nothing(strategy, "B")
    one = max(moved, key=lambda each: each.bytes)
    name = f"largest call of {strategy}"
    return Figure(name, one.bytes, "B", _call(costs, one), "expected" if one.routed else "exact")


def slowest(costs: Costs, strategy: str) -> Figure:
    """Seconds of the longest call."""
    moved = [each for rank in costs.unlike for each in _moved(costs, strategy, rank)]
    if not moved:
        return _nothing(strategy, "s")
    one = max(moved, key=lambda each: once(costs, each))
    return Figure(f"longest call of {strategy}", once(costs, one), "s", _call(costs, one), costs.grade)


def once(costs: Costs, moved: Transfer) -> float:
    """Seconds of one call; of those that go axis after axis, in the mean."""
    groups = _axes(costs, moved) or (getattr(costs.job.parallelism.groups, moved.group),)
    return sum(over(costs, fans, moved) for fans in groups) / len(groups)


def over(costs: Costs, fans: FanOut, moved: Transfer) -> float:
    """Seconds of one call over groups with these fans."""
    links = costs.links
    if moved.kind == "send":
        hops = range(costs.job.degrees.pipeline - 1)
        ways = {find_neighbour_link(fans, links, at) for at in hops}
        return max((predict_send(moved.bytes, way) for way in ways), default=0.0)
    found = PREDICTORS[moved.kind](moved.bytes, fans, links)
    return found + costs.known.constants.collective if found else 0.0


def _axes(costs: Costs, moved: Transfer) -> tuple[FanOut, ...]:
    """The groups of the single axes, where gradients are summed over one after the other."""
    layout = costs.job.parallelism
    if moved.kind != "all_reduce" or moved.group not in ("data", "expert_data"):
        return ()
    return layout.data_axis_fan_outs if moved.group == "data" else layout.expert_axis_fan_outs


def _buffers(costs: Costs, strategy: str, rank: int) -> Figure:
    moved = _moved(costs, strategy, rank)
    if not moved:
        return _nothing(strategy, "B")
    parts = [
        Figure(
            _named(each),
            each.total,
            "B",
            f"{each.calls:,} x {each.bytes:,.0f} B",
            "expected" if each.routed else "exact",
        )
        for each in moved
    ]
    more = sum(bound_other_bytes(costs.job, stage) for stage in costs.job.list_stage_indices(rank))
    return _together(
        f"buffers of {strategy}", rank, parts, f"; besides at most {more:,.0f} B of counts, losses and norms"
    )


def _sent(costs: Costs, strategy: str, rank: int) -> Figure:
    moved = _moved(costs, strategy, rank)
    if not moved:
        return _nothing(strategy, "B")
    parts = []
    for each in moved:
        one = count_sent_bytes(costs.job, each)
        how = f"{each.calls:,} x {one:,.0f} B of buffers of {each.bytes:,.0f} B"
        parts.append(Figure(_named(each), each.calls * one, "B", how, grade_sent_bytes(each)))
    return _together(f"sent over {strategy}", rank, parts)


def _seconds(costs: Costs, strategy: str, rank: int) -> Figure:
    moved = _moved(costs, strategy, rank)
    if not moved:
        return _nothing(strategy, "s")
    parts: list[Figure] = []
    for each in moved:
        one = once(costs, each)
        how = f"{each.calls:,} x {one * 1e6:,.1f} us for {each.bytes:,.0f} B"
        parts.append(Figure(_named(each), each.calls * one, "s", how, costs.grade))
    return _together(f"time over {strategy}", rank, parts)


def _moved(costs: Costs, strategy: str, rank: int) -> list[Transfer]:
    """Calls of one kind and size counted together; `rank` is one of the `unlike`."""
    calls = costs.calls[costs.unlike.index(rank)]
    return [each._replace(calls=count) for each, count in calls.items() if each.group in OVER[strategy]]


def _together(name: str, rank: int, parts: list[Figure], besides: str = "") -> Figure:
    how = f"one device of stage {rank}, one step{besides}"
    sum = add_figures(name, parts)
    return Figure(name, sum.value, sum.unit, how, sum.grade, sum.parts)


def _call(costs: Costs, moved: Transfer) -> str:
    """What a call carries; activations are so many tokens of so many numbers."""
    job = costs.job
    groups = _axes(costs, moved) or (getattr(job.parallelism.groups, moved.group),)
    sizes = [round(prod(fans)) for fans in groups]
    ranks = " and ".join(f"{size:,}" for size in sizes)
    how = f"{_named(moved)}, {ranks} ranks, {moved.calls:,} x a step"
    width, element = job.architecture.hidden, job.software.element_bytes
    if moved.bytes == job.tokens * width * element:
        how += f": {job.tokens:,.0f} tokens of a microbatch x {width:,} x {element} B"
    if moved.kind == "all_reduce" and len(sizes) == 1:
        how += f"; a ring sends 2 x {sizes[0] - 1}/{sizes[0]} of it"
    return how


def _named(moved: Transfer) -> str:
    return f"{moved.kind} of {moved.purpose}"


def _sizes(costs: Costs, names: tuple[str, ...]) -> str:
    if not names:
        return "no axis carries it"
    return " x ".join(f"`{name}` {costs.plan.mesh.axis(name).size}" for name in names)


def _count(name: str, value: int, how: str) -> Figure:
    return Figure(name, value, "", how, "exact")


def _nothing(strategy: str, unit: str) -> Figure:
    return Figure(f"over {strategy}", 0.0, unit, "nothing is sent", "exact")
