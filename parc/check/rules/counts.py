"""Ranks against devices."""

from __future__ import annotations

from collections.abc import Iterator

from parc.check.divisibility import find_size
from parc.check.registry import Finding, rule
from parc.check.requests import Candidates, NearestValues
from parc.diagnostic import Label, Severity
from parc.plan.blocks import Plan


def _format_product(sizes: list[int]) -> str:
    """`2 x 4 = `, where there is something to multiply."""
    return " x ".join(str(size) for size in sizes) + " = " if len(sizes) > 1 else ""


def _make_labels(plan: Plan) -> tuple[Label, ...]:
    mesh = _format_product([axis.size for axis in plan.mesh.axes])
    levels = _format_product([level.size for level in plan.cluster.levels])
    return (
        Label(plan.at("mesh"), f"{mesh}{plan.mesh.size:,} ranks"),
        Label(plan.cluster.at("levels"), f"{levels}{plan.cluster.devices:,} devices", primary=False),
    )


@rule("P201")
def too_many_ranks(plan: Plan) -> Iterator[Finding]:
    """The mesh has more ranks than the cluster has devices.

    The number of ranks is the product of the sizes of all axes. Each rank needs its own device, so a larger
    program would never start.

    ## Example

        cluster farm { levels = [node: 8] }
        plan wide for first on farm {
          mesh = [dp: 4, tp: 4]
          data    over [dp]
          tensor  over [tp]
          experts over [tp]
        }

    ## Instead

        plan wide for first on farm {
          mesh = [dp: 2, tp: 4]
          data    over [dp]
          tensor  over [tp]
          experts over [tp]
        }
    """
    excess = plan.mesh.size - plan.cluster.devices
    if excess > 0:
        yield Finding(
            f"the mesh has {plan.mesh.size:,} ranks, the cluster {plan.cluster.devices:,} devices",
            _make_labels(plan),
            (f"{plan.mesh.size:,} - {plan.cluster.devices:,} = {excess:,} too many",),
            advice=NearestValues("sizes that fit", _list_sizes(plan)),
        )


def _list_sizes(plan: Plan, fill: bool = False) -> tuple[Candidates, ...]:
    """For each axis the sizes for which the cluster has room, or with `fill` those that leave no device idle.

    The fix is to change the only axis that carries data and nothing else.
    """
    found, replicas = [], _find_replica_axis(plan)
    for axis in plan.mesh.axes:
        most, rest = divmod(plan.cluster.devices, plan.mesh.size // axis.size)
        if most and most != axis.size and not (fill and rest):
            sizes = range(most, most - 1 if fill else 0, -1)
            found.append(Candidates(find_size(plan, axis.name), (sizes,), fixable=axis.name == replicas))
    return tuple(found)


def _find_replica_axis(plan: Plan) -> str | None:
    """The only axis that carries data and nothing else."""
    taken = {axis for name in ("tensor", "experts", "pipeline") for axis in plan.list_axes(name)}
    axes = [axis for axis in plan.list_axes("data") if axis not in taken]
    return axes[0] if len(axes) == 1 else None


@rule("P202", Severity.WARNING)
def idle_devices(plan: Plan) -> Iterator[Finding]:
    """The mesh has fewer ranks than the cluster has devices.

    The other devices are paid for and idle. Enlarge an axis, preferably one that carries data, or declare a
    smaller cluster.

    ## Example

        cluster farm { levels = [node: 8] }
        plan wide for first on farm {
          mesh = [dp: 4]
          data over [dp]
        }

    ## Instead

        plan wide for first on farm {
          mesh = [dp: 8]
          data over [dp]
        }
    """
    idle = plan.cluster.devices - plan.mesh.size
    if idle > 0:
        yield Finding(
            f"{idle:,} of {plan.cluster.devices:,} devices {'is' if idle == 1 else 'are'} idle",
            _make_labels(plan),
            (f"{plan.cluster.devices:,} - {plan.mesh.size:,} = {idle:,}",),
            advice=NearestValues("sizes that leave none idle", _list_sizes(plan, fill=True)),
        )


@rule("P260", Severity.WARNING)
def level_larger_than_machine(plan: Plan) -> Iterator[Finding]:
    """A level of the cluster is larger than its machine's, such as a node of 16 devices instead of 8.

    Links within the level would be predicted too fast, and ranks would be started where there is no device.
    For a larger machine of the same kind, write a `machine` block.

    ## Example

        import "parc:h100"
        cluster farm { machine = h100, levels = [node: 16] }
        plan wide for first on farm {
          mesh = [dp: 8, tp: 2]
          data   over [dp]
          tensor over [tp]
        }

    ## Instead

        cluster farm { machine = h100, levels = [fabric: 2, node: 8] }
        plan wide for first on farm {
          mesh = [pp: 2, dp: 8]
          data     over [dp]
          pipeline over [pp]
        }
    """
    cluster = plan.cluster
    known = {level.name: level.size for level in cluster.machine.levels} if cluster.machine else {}
    for level in cluster.levels:
        most = known.get(level.name, level.size)
        if cluster.machine and level.size > most:
            inner = cluster.levels[-1].name
            unit = "devices" if level.name == inner else "units"
            yield Finding(
                f"a {level.name} of `{cluster.machine.name}` has {most} {unit}, not {level.size}",
                (
                    Label(cluster.at(f"levels.{level.name}"), f"{level.size} {unit}"),
                    Label(cluster.machine.at(f"levels.{level.name}"), f"{most} {unit}", primary=False),
                ),
            )
