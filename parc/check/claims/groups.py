"""Claims about the groups of a strategy: how many, how large, how far they reach, what they send."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from parc.check.claims.counts import find_largest, make_exact
from parc.check.costs import Costs
from parc.cost.figure import Figure, Grade, add_figures
from parc.cost.job.parallelism import FanOut, GroupName
from parc.cost.network.collective_times import PREDICTORS, find_neighbour_link, predict_send
from parc.cost.network.link_levels import count_sent_bytes, grade_sent_bytes
from parc.cost.network.traffic import Transfer, bound_other_bytes

MEMBERS = 4  # of a group that are shown; of a larger one two, and the last
OVER: dict[str, tuple[GroupName, ...]] = {
    "data": ("data", "expert_data"),
    "tensor": ("tensor",),
    "experts": ("experts", "expert_tensor", "dispatch", "expert_terms"),
    "pipeline": ("pipeline",),
}


def count_ranks(costs: Costs, strategy: str) -> Figure:
    """Of one group."""
    mesh, axes = costs.plan.mesh, costs.plan.list_axes(strategy)
    sizes = " x ".join(f"`{name}` {mesh.axis(name).size}" for name in axes) or "no axis carries it"
    how = f"{sizes}: {_format_group(costs, axes)}"
    return make_exact(f"ranks of a group of {strategy}", mesh.product(axes), how)


def count_groups(costs: Costs, strategy: str) -> Figure:
    ranks, one = costs.plan.mesh.size, costs.plan.mesh.product(costs.plan.list_axes(strategy))
    return make_exact(f"groups of {strategy}", ranks // one, f"{ranks:,} ranks / {one:,} a group")


def find_stride(costs: Costs, strategy: str) -> Figure:
    """Ranks from one member of a group to the next."""
    axes = costs.plan.list_axes(strategy)
    stride = min((costs.plan.mesh.stride(name) for name in axes), default=0)
    return make_exact(f"ranks between neighbours of {strategy}", stride, _format_group(costs, axes))


def count_units(costs: Costs, strategy: str, level: str) -> Figure:
    """How many units of a level one group touches."""
    plan, axes = costs.plan, costs.plan.list_axes(strategy)
    sizes = [each.size for each in plan.cluster.levels]
    index = next(at for at, each in enumerate(plan.cluster.levels) if each.name == level)
    unit = prod(sizes[index:])
    nests = plan.mesh.nests(unit)
    how = f"{_format_group(costs, axes)}; a {level} has {unit:,} devices"
    how += "" if nests else "; they do not line up with the mesh: no group touches more"
    count = plan.mesh.count_units(axes, sizes)[index]
    return Figure(f"{level}s of a group of {strategy}", count, "", how, "exact" if nests else "estimated")


def sum_buffers(costs: Costs, strategy: str) -> Figure:
    """Bytes that one device gives to the network in a step, of the device that gives most."""

    def measure(each: Transfer) -> Figure:
        how = f"{each.calls:,} x {each.bytes:,.0f} B"
        return Figure(_format_name(each), each.total, "B", how, "expected" if each.routed else "exact")

    def describe_rest(rank: int) -> str:
        rest = sum(bound_other_bytes(costs.job, stage) for stage in costs.job.list_stage_indices(rank))
        return f"; in addition at most {rest:,.0f} B of counts, losses and norms"

    return _sum_calls(costs, strategy, f"buffers of {strategy}", "B", measure, describe_rest)


def sum_sent(costs: Costs, strategy: str) -> Figure:
    """Bytes over all levels of the network, of the device that sends most: `TRAFFIC` of `parc explain`."""

    def measure(each: Transfer) -> Figure:
        one = count_sent_bytes(costs.job, each)
        how = f"{each.calls:,} x {one:,.0f} B of buffers of {each.bytes:,.0f} B"
        return Figure(_format_name(each), each.calls * one, "B", how, grade_sent_bytes(each))

    return _sum_calls(costs, strategy, f"sent over {strategy}", "B", measure)


def sum_seconds(costs: Costs, strategy: str) -> Figure:
    def measure(each: Transfer) -> Figure:
        one = time_call(costs, each)
        how = f"{each.calls:,} x {one * 1e6:,.1f} us for {each.bytes:,.0f} B"
        return Figure(_format_name(each), each.calls * one, "s", how, costs.time_grade)

    return _sum_calls(costs, strategy, f"time over {strategy}", "s", measure)


def _sum_calls(
    costs: Costs,
    strategy: str,
    name: str,
    unit: str,
    measure: Callable[[Transfer], Figure],
    describe_rest: Callable[[int], str] = lambda rank: "",
) -> Figure:
    """The sum over the calls of one device and step, of the device that has the largest."""
    found = []
    for rank in costs.unlike_ranks:
        calls = _list_calls(costs, strategy, rank)
        if not calls:
            found.append(_make_nothing(strategy, unit))
            continue
        of = add_figures(name, map(measure, calls))
        how = f"one device of stage {rank}, one step{describe_rest(rank)}"
        found.append(Figure(name, of.value, of.unit, how, of.grade, of.parts))
    return find_largest(found)


def find_largest_call(costs: Costs, strategy: str) -> Figure:
    """Bytes of the largest call."""

    def measure(each: Transfer) -> Figure:
        grade: Grade = "expected" if each.routed else "exact"
        return Figure(f"largest call of {strategy}", each.bytes, "B", _describe_call(costs, each), grade)

    return _find_call(costs, strategy, "B", measure)


def find_slowest_call(costs: Costs, strategy: str) -> Figure:
    """Seconds of the longest call."""

    def measure(each: Transfer) -> Figure:
        how = _describe_call(costs, each)
        return Figure(f"longest call of {strategy}", time_call(costs, each), "s", how, costs.time_grade)

    return _find_call(costs, strategy, "s", measure)


def _find_call(costs: Costs, strategy: str, unit: str, measure: Callable[[Transfer], Figure]) -> Figure:
    """The largest of the figures of the calls of all devices."""
    calls = [each for rank in costs.unlike_ranks for each in _list_calls(costs, strategy, rank)]
    return find_largest(map(measure, calls)) if calls else _make_nothing(strategy, unit)


def time_call(costs: Costs, moved: Transfer) -> float:
    """Seconds of one call; of those that go axis after axis, in the mean."""
    groups = _list_groups(costs, moved)
    return sum(time_over(costs, fans, moved) for fans in groups) / len(groups)


def time_over(costs: Costs, fans: FanOut, moved: Transfer) -> float:
    """Seconds of one call over groups with these fans."""
    links = costs.links
    if moved.kind == "send":
        hops = range(costs.job.degrees.pipeline - 1)
        ways = {find_neighbour_link(fans, links, at) for at in hops}
        return max((predict_send(moved.bytes, way) for way in ways), default=0.0)
    found = PREDICTORS[moved.kind](moved.bytes, fans, links)
    return found + costs.calibration.constants.collective if found else 0.0


def _list_groups(costs: Costs, moved: Transfer) -> tuple[FanOut, ...]:
    """The groups that a call goes over: one, or those of single axes where gradients are summed over each."""
    layout = costs.job.parallelism
    if moved.fan_out:
        return (moved.fan_out,)
    by_axis = layout.data_axis_fan_outs if moved.group == "data" else layout.expert_axis_fan_outs
    if moved.kind == "all_reduce" and moved.group in ("data", "expert_data") and by_axis:
        return by_axis
    return (getattr(layout.groups, moved.group),)


def _list_calls(costs: Costs, strategy: str, rank: int) -> list[Transfer]:
    """Calls of one kind and size counted together; `rank` is one of the `unlike_ranks`."""
    calls = costs.calls[rank].items()
    return [each._replace(calls=count) for each, count in calls if each.group in OVER[strategy]]


def _describe_call(costs: Costs, moved: Transfer) -> str:
    """What a call carries, its ranks, and how often it is made in a step."""
    job = costs.job
    sizes = [round(prod(fans)) for fans in _list_groups(costs, moved)]
    ranks = " and ".join(f"{size:,}" for size in sizes)
    how = f"{_format_name(moved)}, {ranks} ranks, {moved.calls:,} x a step"
    width, element = job.architecture.hidden, job.software.element_bytes
    if moved.bytes == job.tokens * width * element:
        how += f": {job.tokens:,.0f} tokens of a microbatch x {width:,} x {element} B"
    if moved.kind == "all_reduce" and len(sizes) == 1:
        how += f"; a ring sends 2 x {sizes[0] - 1}/{sizes[0]} of it"
    return how


def _format_group(costs: Costs, axes: tuple[str, ...]) -> str:
    """`the group of rank 0 is {0, 16, .., 112}`."""
    group = costs.plan.mesh.group(0, axes)
    shown = [f"{group[index]:,}" for index in range(min(len(group), MEMBERS))]
    if len(group) > MEMBERS:
        shown = [*shown[:2], "..", f"{group[-1]:,}"]
    return f"the group of rank 0 is {{{', '.join(shown)}}}"


def _format_name(moved: Transfer) -> str:
    return f"{moved.kind} of {moved.purpose}"


def _make_nothing(strategy: str, unit: str) -> Figure:
    return Figure(f"over {strategy}", 0.0, unit, "nothing is sent", "exact")
