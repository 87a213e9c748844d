"""Which groups leave a node, what that costs, and the order of the axes that would keep them in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from parc.check.advice import alternatives
from parc.check.advice.alternatives import Alternative
from parc.check.advice.expert_locality import leaves, legal, nearer
from parc.check.costs import Costs, Unknown, costs
from parc.check.registry import Finding, rule
from parc.diagnostic import Fix, Label, Severity
from parc.plan.blocks import Plan
from parc.plan.mesh import Mesh
from parc.plan.subjects import STRATEGIES

if TYPE_CHECKING:
    from parc.cost.job.parallelism import FanOut
    from parc.cost.network.traffic import Transfer

BETTER = 0.95  # of a step's time: what another order must save to be worth a warning
NEARER = 0.7  # of the collectives' time, to be worth a word
MATTERS = 0.1  # of a step, from which on collectives are worth one


@rule("P324", Severity.WARNING)
def slow_order_of_axes(plan: Plan) -> Iterator[Finding]:
    """Groups reach across nodes that another order of the same axes would keep in one.

    The last axis of `mesh` runs over neighbours, the first over the farthest devices. What communicates most
    belongs innermost: the tensor groups, which wait for one another several times in every layer, then the
    experts. The order changes nothing that is computed. Told is what the cost model finds clearly faster, and
    tensor groups that leave a node without need.

    Where no order keeps the experts in a node another layout may: their axis in two, the inner one for the
    experts and both for data, so that each node has all experts; or experts over the tensor axis. It is told
    if it fits, breaks no rule, and is clearly faster.

    ## Example

        cluster farm {
          levels = [fabric: 4, node: 8]
          device { compute = 989 TFLOPS, memory = 80 GB, memory_bandwidth = 3.35 TB/s }
          link node   { bandwidth = 450 GB/s, latency = 3 us }
          link fabric { bandwidth = 50 GB/s, latency = 8 us }
        }
        model moe {
          source = "moe.py:Dense"
          shape { layers = 16, hidden = 4096, heads = 32, ffn = 16384, vocab = 32000 }
        }
        train first {
          model = moe
          batch { sequences = 32, length = 4096, microbatches = 4 }
          precision { compute = bf16 }
        }
        plan wide for first on farm {
          mesh = [tp: 8, dp: 4]
          data   over [dp]
          tensor over [tp]
        }

    ## Instead

        cluster farm {
          levels = [fabric: 4, node: 8]
          device { compute = 989 TFLOPS, memory = 80 GB, memory_bandwidth = 3.35 TB/s }
          link node   { bandwidth = 450 GB/s, latency = 3 us }
          link fabric { bandwidth = 50 GB/s, latency = 8 us }
        }
        model moe {
          source = "moe.py:Dense"
          shape { layers = 16, hidden = 4096, heads = 32, ffn = 16384, vocab = 32000 }
        }
        train first {
          model = moe
          batch { sequences = 32, length = 4096, microbatches = 4 }
          precision { compute = bf16 }
        }
        plan wide for first on farm {
          mesh = [dp: 4, tp: 8]
          data   over [dp]
          tensor over [tp]
        }
    """
    yield from _slow(costs(plan))


@rule("P325", Severity.INFO)
def collectives_across_nodes(plan: Plan) -> Iterator[Finding]:
    """Another order of the axes would shorten the collectives, though hardly the step as it is predicted.

    The step is bound by something else, mostly by the host that starts the kernels; software that needs
    less of the host would feel the difference.

    ## Example

        cluster farm {
          levels = [fabric: 8, node: 16]
          device { compute = 400 TFLOPS, memory = 64 GB, memory_bandwidth = 1.8 TB/s }
          link node   { bandwidth = 900 GB/s, latency = 3 us }
          link fabric { bandwidth = 50 GB/s, latency = 8 us }
        }
        train first {
          model = moe
          batch { sequences = 256, length = 1024, microbatches = 32 }
        }
        plan wide for first on farm {
          mesh = [ep: 8, pp: 4, tp: 4]
          data     over [ep]
          tensor   over [tp]
          experts  over [ep] { tensor = [tp] }
          pipeline over [pp]
        }

    ## Instead

        cluster farm {
          levels = [fabric: 8, node: 16]
          device { compute = 400 TFLOPS, memory = 64 GB, memory_bandwidth = 1.8 TB/s }
          link node   { bandwidth = 900 GB/s, latency = 3 us }
          link fabric { bandwidth = 50 GB/s, latency = 8 us }
        }
        train first {
          model = moe
          batch { sequences = 256, length = 1024, microbatches = 32 }
        }
        plan wide for first on farm {
          mesh = [pp: 4, tp: 4, ep: 8]
          data     over [ep]
          tensor   over [tp]
          experts  over [ep] { tensor = [tp] }
          pipeline over [pp]
        }
    """
    far = _far(plan)
    if not far or plan.tried:
        return
    try:
        costs(plan).require_even()
        step, now = costs(plan).step.seconds, _collectives(costs(plan), plan.mesh)
        if now < MATTERS * step or _slow(costs(plan)):
            return
        best = _best(costs(plan))
        if best and (then := _collectives(costs(plan), best.costs.plan.mesh)) <= NEARER * now:
            from parc.cost.figure import format_quantity

            saved = f"collectives of one device: {format_quantity(now, 's')} a step, with the other order"
            faster = alternatives.priced(best)
            shorter = format_quantity(faster or 0.0, "s")
            total = f"predicted step: {format_quantity(step, 's')}, with the other order {shorter}"
            yield _finding(
                plan, best, far, (*_priced_reach(plan, far), f"{saved} {format_quantity(then, 's')}", total)
            )
        elif layout := _layout(plan, lambda each: _shorter(each, now, step)):
            yield _of_layout(plan, layout)
    except Unknown:
        return


def _shorter(other: Alternative, now: float, step: float) -> float | None:
    """Seconds of a step in which a device communicates, where the other layout has clearly less of them than
    `now`, and its step takes no longer than `step`."""
    then = _collectives(other.costs, other.costs.plan.mesh)
    return then if then <= NEARER * now and other.costs.step.seconds <= step else None


@lru_cache(maxsize=8)
def _slow(known: Costs) -> tuple[Finding, ...]:
    """What P324 finds: P325 asks for it too."""
    plan = known.plan
    far = _far(plan)
    if not far or plan.tried:
        return ()
    try:
        known.require_even()
        now = known.step.seconds
        best = _best(known)
    except Unknown:
        if "tensor" in far and (near := _that_keeps_tensors(plan)):
            return (_finding(plan, near, far, _reach(plan, far)),)
        return ()
    if best and (then := alternatives.priced(best)) is not None:
        kept = "tensor" in far and "tensor" not in _far(best.costs.plan)
        if then <= BETTER * now or (kept and then <= now):
            from parc.cost.figure import format_quantity

            shorter = format_quantity(then, "s")
            saved = f"predicted step: {format_quantity(now, 's')}, with the other order {shorter}"
            return (_finding(plan, best, far, (*_priced_reach(plan, far), saved)),)

    def faster(each: Alternative) -> float | None:
        then = alternatives.priced(each)
        return then if then and then <= BETTER * now else None

    if best and _collectives(known, best.costs.plan.mesh) <= NEARER * _collectives(known, plan.mesh):
        return ()  # which P325 tells
    layout = _layout(plan, faster)
    return (_of_layout(plan, layout),) if layout else ()


def _far(plan: Plan) -> tuple[str, ...]:
    """Strategies whose groups leave a unit of the innermost level."""
    return tuple(name for name in STRATEGIES if leaves(plan, name))


def _layout(plan: Plan, faster: Callable[[Alternative], float | None]) -> Alternative | None:
    """Of the layouts that keep the experts in a unit of the innermost level, where no order of the axes does,
    the legal one for which `faster` is least; it is None for one that is not worth a word."""
    found = [
        (measure, at, each)
        for at, each in enumerate(_nearer(costs(plan)))
        if (measure := faster(each)) is not None
    ]
    return next((each for _, _, each in sorted(found) if legal(plan, each.costs.plan)), None)


@lru_cache(maxsize=8)
def _nearer(known: Costs) -> tuple[Alternative, ...]:
    """Both rules price them, once."""
    return tuple(nearer(known.plan))


def _of_layout(plan: Plan, best: Alternative) -> Finding:
    from parc.cost.figure import format_quantity

    unit, experts, after = plan.cluster.levels[-1], plan.experts, best.costs
    assert experts
    instead = ", without letting those of `tensor` out" if plan.tensor else ""
    now, then = costs(plan).step.seconds, after.step.seconds
    before, behind = _collectives(costs(plan), plan.mesh), _collectives(after, after.plan.mesh)
    shorter = f"{format_quantity(before, 's')} a step, with the other layout {format_quantity(behind, 's')}"
    faster = format_quantity(then, "s")
    return Finding(
        f"groups of `experts` leave a {unit.name}, and no order of the axes keeps them in{instead}",
        (
            Label(experts.span, "leaves it"),
            Label(plan.at("mesh"), f"{unit.size:,} ranks a {unit.name}", primary=False),
        ),
        (
            *_priced_reach(plan, ("experts",)),
            f"collectives of one device: {shorter}",
            f"predicted step: {format_quantity(now, 's')}, with the other layout {faster}",
        ),
        f"`{best.text}`",
        Fix("keep the experts in", best.edits, safe=False) if best.edits else None,
    )


@lru_cache(maxsize=8)
def _best(known: Costs) -> Alternative | None:
    """The order whose collectives take the least time, where that is less than now."""
    found = [
        (_collectives(known, each.costs.plan.mesh), index, each)
        for index, each in enumerate(alternatives.orders(known.plan))
    ]
    least = min(found, default=None)
    if least is None or least[0] >= _collectives(known, known.plan.mesh):
        return None
    least[2].costs.fault = known.fault  # what divides does so in every order
    return least[2]


@lru_cache(maxsize=64)
def _collectives(known: Costs, order: Mesh) -> float:
    """Seconds of a step in which a device communicates, of the one that does most, in another order of the
    axes: what is sent is the same in every order, only its groups lie otherwise."""
    calls, plan = known.calls, known.plan
    from parc.cost.job.from_plan import derive_groups

    lie = known.job.parallelism.groups if order == plan.mesh else derive_groups(replace(plan, mesh=order))
    return max(
        sum(count * _taken(known, getattr(lie, each.group), each) for each, count in some.items())
        for some in calls
    )


@lru_cache(maxsize=1024)
def _taken(known: Costs, fans: FanOut, moved: Transfer) -> float:
    """Seconds of one call."""
    from parc.check.claims.groups import over

    return over(known, fans, moved)


def _that_keeps_tensors(plan: Plan) -> Alternative | None:
    return next((each for each in alternatives.orders(plan) if "tensor" not in _far(each.costs.plan)), None)


def _reach(plan: Plan, far: tuple[str, ...]) -> tuple[str, ...]:
    levels = [level.size for level in plan.cluster.levels]
    unit = plan.cluster.levels[-1].name
    found = []
    for name in far:
        axes = getattr(plan, name).axes
        named = ", ".join(f"`{axis}`" for axis in axes)
        touched = plan.mesh.count_units(axes, levels)[-1]
        size = plan.mesh.product(axes)
        found.append(f"each group of {size:,} ranks of `{name}` over {named} touches {touched:,} {unit}s")
    return tuple(found)


def _priced_reach(plan: Plan, far: tuple[str, ...]) -> tuple[str, ...]:
    """The same, with bytes and seconds of one device and step."""
    from parc.check.claims.groups import seconds, sent
    from parc.check.claims.verdict import shown

    known = costs(plan)
    return tuple(
        f"{reach}: {shown(sent(known, name))} and {shown(seconds(known, name))} a step of one device"
        for name, reach in zip(far, _reach(plan, far), strict=True)
    )


def _finding(plan: Plan, best: Alternative, far: tuple[str, ...], notes: tuple[str, ...]) -> Finding:
    unit = plan.cluster.levels[-1]
    after = _far(best.costs.plan)
    kept = [name for name in far if name not in after]
    if out := [f"`{name}`" for name in after if name not in far]:
        instead = f"with the other order groups of {' and '.join(out)} leave a {unit.name}"
        notes = (*notes[: len(far)], instead, *notes[len(far) :])
    named = " and ".join(f"`{name}`" for name in kept or far)
    labels = [Label(plan.at("mesh"), f"the last axis runs over neighbours, {unit.size:,} a {unit.name}")]
    labels += [Label(getattr(plan, name).span, "leaves it", primary=False) for name in kept]
    fix = Fix("put the axes in this order", best.edits, safe=False) if best.edits else None
    outcome = f"groups of {named} leave a {unit.name}"
    outcome += ", which another order of the axes avoids" if kept else " more than another order of the axes"
    return Finding(outcome, tuple(labels), notes, f"`{best.text}`", fix)
