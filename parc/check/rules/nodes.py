"""Groups of ranks against the units of the cluster: nodes, racks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from parc.check.divisibility import find_size, list_divisors, list_multiples
from parc.check.edits import replace_text
from parc.check.registry import Finding, rule
from parc.check.requests import NearestValues
from parc.diagnostic import Fix, Label, Severity
from parc.plan.blocks import Plan


@rule("P225", Severity.WARNING)
def groups_not_aligned(plan: Plan) -> Iterator[Finding]:
    """The groups of an axis are not aligned with the nodes, or the racks, of the cluster.

    Rank r runs on device r. Some groups of the axis then lie within a node and others span two. All of them
    wait for the slowest link, although most have a fast one. Sizes that divide one another make all groups
    alike.

    ## Example

        cluster farm { levels = [fabric: 3, node: 8] }
        plan wide for first on farm {
          mesh = [dp: 4, tp: 2, pp: 3]
          data     over [dp]
          tensor   over [tp]
          experts  over [tp]
          pipeline over [pp] { layers = [6, 5, 5] }
        }

    ## Instead

        cluster farm { levels = [fabric: 4, node: 8] }
        plan wide for first on farm {
          mesh = [dp: 4, tp: 2, pp: 4]
          data     over [dp]
          tensor   over [tp]
          experts  over [tp]
          pipeline over [pp]
        }
    """
    unit = 1
    for level in reversed(plan.cluster.levels[1:]):
        unit *= level.size
        if unit >= plan.mesh.size:
            return
        for axis in reversed(plan.mesh.axes):
            stride = plan.mesh.stride(axis.name)
            reach = stride * axis.size
            if unit % reach == 0 or stride >= unit or reach == plan.mesh.size:
                continue
            if reach % unit:
                yield _find_uneven(plan, axis.name, reach, level.name, unit)
                return
            break


def _find_uneven(plan: Plan, axis: str, reach: int, level: str, unit: int) -> Finding:
    size, room = plan.mesh.axis(axis).size, unit // plan.mesh.stride(axis)
    inside = [each.size for each in plan.mesh.axes if plan.mesh.stride(each.name) < reach and each.size > 1]
    product = " x ".join(map(str, inside)) + " = " if len(inside) > 1 else ""
    number = find_size(plan, axis)
    candidates = list_divisors(number, room) if size < room else list_multiples(number, room)
    return Finding(
        f"groups of `{axis}` start and end in the middle of a {level}",
        (
            Label(plan.at(f"mesh.{axis}"), f"{reach:,} ranks, with the axes inside it"),
            Label(plan.cluster.at(f"levels.{level}"), f"a {level} has {unit:,} devices", primary=False),
        ),
        (f"{product}{reach:,} ranks in a row neither divide {unit:,} nor are a multiple of it",),
        advice=NearestValues("nearest that line up", (candidates,)),
    )


@rule("P235", Severity.WARNING)
def levels_out_of_order(plan: Plan) -> Iterator[Finding]:
    """The link of an outer level is faster than the link of a level inside it.

    Levels are written outermost first. Networks are not faster between nodes than within one, so two levels
    or two links have probably been swapped.

    ## Example

        cluster farm {
          levels = [node: 4, fabric: 2]
          link node   { bandwidth = 900 GB/s }
          link fabric { bandwidth = 50 GB/s }
        }
        plan wide for first on farm {
          mesh = [dp: 8]
          data over [dp]
        }

    ## Instead

        cluster farm {
          levels = [fabric: 2, node: 4]
          link node   { bandwidth = 900 GB/s }
          link fabric { bandwidth = 50 GB/s }
        }
    """
    known = {link.level: link for link in plan.cluster.links if link.bandwidth}
    linked = [known[level.name] for level in plan.cluster.levels if level.name in known]
    for outer, inner in pairwise(linked):
        assert outer.bandwidth
        assert inner.bandwidth
        if outer.bandwidth > inner.bandwidth:
            yield Finding(
                f"the link of `{outer.level}` is faster than that of `{inner.level}`, which is inside it",
                (
                    Label(plan.cluster.at("levels"), "outermost first"),
                    Label(outer.at("bandwidth"), "outside", primary=False),
                    Label(inner.at("bandwidth"), "inside", primary=False),
                ),
                help="the last level is the innermost",
                fix=_exchange_levels(plan, outer.level, inner.level),
            )


def _exchange_levels(plan: Plan, outer: str, inner: str) -> Fix | None:
    spans = [plan.cluster.spans.get(f"levels.{name}") for name in (outer, inner)]
    first, second = spans
    if first is None or second is None:
        return None
    edits = (replace_text(first, second.text), replace_text(second, first.text))
    return Fix(f"swap `{outer}` and `{inner}`", edits, safe=False)
