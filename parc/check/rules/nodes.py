"""Groups of ranks against the units of the cluster: nodes, racks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from parc.check.advice.nearest import divisors, multiples, nearest, told
from parc.check.advice.nearest import size as size_of
from parc.check.edits import replaced
from parc.check.registry import Finding, rule
from parc.diagnostic import Fix, Label, Severity
from parc.plan.blocks import Plan


@rule("P225", Severity.WARNING)
def units_cut_unevenly(plan: Plan) -> Iterator[Finding]:
    """The groups of an axis do not line up with the nodes, or the racks, of the cluster.

    Rank r is device r. Some groups of the axis then lie within a node and others across two: all wait for
    the slowest link, though most have a fast one. Sizes that nest keep every group alike.

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
                yield _uneven(plan, axis.name, reach, level.name, unit)
                return
            break


def _uneven(plan: Plan, axis: str, reach: int, level: str, unit: int) -> Finding:
    size, room = plan.mesh.axis(axis).size, unit // plan.mesh.stride(axis)
    inside = [each.size for each in plan.mesh.axes if plan.mesh.stride(each.name) < reach and each.size > 1]
    product = " x ".join(map(str, inside)) + " = " if len(inside) > 1 else ""
    number = size_of(plan, axis)
    candidates = divisors(number, room) if size < room else multiples(number, room)
    good = nearest(plan, "P225", number, candidates)
    return Finding(
        f"groups of `{axis}` begin and end in the middle of a {level}",
        (
            Label(plan.at(f"mesh.{axis}"), f"with what is inside of it {reach:,} ranks"),
            Label(plan.cluster.at(f"levels.{level}"), f"a {level} has {unit:,} devices", primary=False),
        ),
        (f"{product}{reach:,} ranks in a row neither divide {unit:,} nor are a multiple of it",),
        told("nearest that line up", [good]),
    )


@rule("P235", Severity.WARNING)
def levels_inside_out(plan: Plan) -> Iterator[Finding]:
    """The link of an outer level is faster than that of a level inside of it.

    Levels are written outermost first: what is far apart before what is near. No network is faster between
    nodes than within one, so two levels, or two links, have most likely changed places.

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
        plan wide for first on farm {
          mesh = [dp: 8]
          data over [dp]
        }
    """
    known = {link.level: link for link in plan.cluster.links if link.bandwidth}
    linked = [known[level.name] for level in plan.cluster.levels if level.name in known]
    for outer, inner in pairwise(linked):
        assert outer.bandwidth
        assert inner.bandwidth
        if outer.bandwidth > inner.bandwidth:
            yield Finding(
                f"the link of `{outer.level}` is faster than that of `{inner.level}`, which is inside of it",
                (
                    Label(plan.cluster.at("levels"), "outermost first"),
                    Label(outer.at("bandwidth"), "outside", primary=False),
                    Label(inner.at("bandwidth"), "inside", primary=False),
                ),
                help="the last level is the innermost",
                fix=_exchanged(plan, outer.level, inner.level),
            )


def _exchanged(plan: Plan, outer: str, inner: str) -> Fix | None:
    spans = [plan.cluster.spans.get(f"levels.{name}") for name in (outer, inner)]
    first, second = spans
    if first is None or second is None:
        return None
    edits = (replaced(first, second.text), replaced(second, first.text))
    return Fix(f"exchange `{outer}` and `{inner}`", edits, safe=False)
