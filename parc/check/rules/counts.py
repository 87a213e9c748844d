"""Ranks against devices."""

from __future__ import annotations

from collections.abc import Iterator

from parc.check.advice.nearest import Nearest, nearest, size
from parc.check.registry import Finding, rule
from parc.diagnostic import Fix, Label, Severity
from parc.plan.blocks import Plan


def _product(sizes: list[int]) -> str:
    """`2 x 4 = `, where there is something to multiply."""
    return " x ".join(str(size) for size in sizes) + " = " if len(sizes) > 1 else ""


def _labels(plan: Plan) -> tuple[Label, ...]:
    mesh = _product([axis.size for axis in plan.mesh.axes])
    levels = _product([level.size for level in plan.cluster.levels])
    return (
        Label(plan.at("mesh"), f"{mesh}{plan.mesh.size:,} ranks"),
        Label(plan.cluster.at("levels"), f"{levels}{plan.cluster.devices:,} devices", primary=False),
    )


@rule("P201")
def too_many_ranks(plan: Plan) -> Iterator[Finding]:
    """The mesh has more ranks than the cluster has devices.

    The sizes of all axes multiply to the number of ranks, and each rank needs a device of its own: a program
    with more would never start.

    ## Example

        cluster farm { levels = [node: 8] }
        plan wide for first on farm {
          mesh = [dp: 4, tp: 4]
          data    over [dp]
          tensor  over [tp]
          experts over [tp]
        }

    ## Instead

        cluster farm { levels = [node: 8] }
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
            _labels(plan),
            (f"{plan.mesh.size:,} - {plan.cluster.devices:,} = {excess:,} too many",),
            *_sizes_that(plan, "P201", "it fits"),
        )


def _sizes_that(plan: Plan, code: str, so: str, *, fill: bool = False) -> tuple[str | None, Fix | None]:
    """For each axis the largest size which the cluster has room for; with `fill`, where no device is left.

    The fix gives the only axis that carries data and nothing else as many ranks as there are devices for.
    """
    found: dict[str, Nearest] = {}
    for axis in () if plan.tried else plan.mesh.axes:
        most, rest = divmod(plan.cluster.devices, plan.mesh.size // axis.size)
        if most and most != axis.size and not (fill and rest):
            sizes = (most,) if fill else range(most, 0, -1)
            if near := nearest(plan, code, size(plan, axis.name), [sizes]):
                found[axis.name] = near
    good = {name: near for name, near in found.items() if near.values}
    if not good:
        but = [f"`{name}: {near.refused}`, but then {near.faults[0]}" for name, near in found.items()]
        return (f"{so} with {'; or with '.join(but)}" if but else None), None
    listed = " or ".join(f"`{name}: {near.values[0]}`{near.then}" for name, near in good.items())
    replicas = good.get(_for_replicas(plan) or "")
    return f"{so} with {listed}", replicas.fix if replicas else None


def _for_replicas(plan: Plan) -> str | None:
    """The only axis that carries data and nothing else."""
    others = (plan.tensor, plan.experts, plan.pipeline)
    taken = {axis for strategy in others if strategy for axis in strategy.axes}
    axes = [axis for axis in plan.data.axes if axis not in taken] if plan.data else []
    return axes[0] if len(axes) == 1 else None


@rule("P202", Severity.WARNING)
def idle_devices(plan: Plan) -> Iterator[Finding]:
    """The mesh has fewer ranks than the cluster has devices.

    The rest of the cluster is paid for and does nothing. A larger axis, most easily one that carries data,
    puts it to work; or else the plan is for a smaller cluster.

    ## Example

        cluster farm { levels = [node: 8] }
        plan wide for first on farm {
          mesh = [dp: 4]
          data over [dp]
        }

    ## Instead

        cluster farm { levels = [node: 8] }
        plan wide for first on farm {
          mesh = [dp: 8]
          data over [dp]
        }
    """
    idle = plan.cluster.devices - plan.mesh.size
    if idle > 0:
        yield Finding(
            f"{idle:,} of {plan.cluster.devices:,} devices {'is' if idle == 1 else 'are'} idle",
            _labels(plan),
            (f"{plan.cluster.devices:,} - {plan.mesh.size:,} = {idle:,}",),
            *_sizes_that(plan, "P202", "all are busy", fill=True),
        )


@rule("P260", Severity.WARNING)
def larger_than_the_machine(plan: Plan) -> Iterator[Finding]:
    """A level of the cluster is larger than the machine's: a node of 16 devices, of machines that have 8.

    Links within that level would be faster on paper than they are, and ranks would be started where there is
    no device. A machine that is like this one but larger is a `machine` block of its own.

    ## Example

        import "parc:h100"
        cluster farm { machine = h100, levels = [node: 16] }
        plan wide for first on farm {
          mesh = [dp: 8, tp: 2]
          data   over [dp]
          tensor over [tp]
        }

    ## Instead

        import "parc:h100"
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
