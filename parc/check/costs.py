"""What the cost model says of one plan, computed when it is asked for, and once.

The cost model itself is imported at that moment too: many plans ask for nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from parc.plan.blocks import Cluster, Plan

if TYPE_CHECKING:
    from parc.check.advice.alternatives import Alternative
    from parc.check.registry import Rule
    from parc.cost.figure import Figure, Grade
    from parc.cost.job.job import Job, StageShape
    from parc.cost.network.collective_times import Links
    from parc.cost.network.traffic import Transfer
    from parc.cost.timing.constants import Calibration
    from parc.cost.timing.step import StepTime
    from parc.diagnostic import Diagnostic

T = TypeVar("T")
PRICED = ("P306", "P322")  # errors that the cost model tells: a false claim, too little memory
_LAYOUT = (203, 204, 205, 206, 207, 209, 211, 212, 213, 214, 221, 222, 223, 224, 227, 229)
_AXES = (302, 303, 304, 305, 309, 310)
UNSOUND = frozenset(
    f"P{number}" for number in (*_LAYOUT, *_AXES)
)  # errors of a layout that nothing can be computed of: halves of experts, axes that exclude one another
UNEVEN = frozenset({"P208"})
SHAPE = ("layers", "hidden", "heads", "ffn", "vocab")
DEVICE = ("compute", "memory", "memory_bandwidth")
MOST_STAGES = 1024  # of which memory and traffic are looked at one by one


class Unknown(Exception):
    """A figure cannot be derived: why, in words for the user."""


class Costs:
    """Every figure raises `Unknown` where the plan does not say enough, or the model does not cover it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.others: list[Alternative] | None = None  # once somebody has asked for them
        self.derived: dict[str, Figure] = {}  # what claims are about, by its name
        self.told: dict[str, tuple[Diagnostic, ...]] = {}  # what rules have found in the plan, by their codes
        self.moved: dict[
            int, tuple[Transfer, ...]
        ] = {}  # what one device of a pipeline rank gives to the network

    @cached_property
    def fault(self) -> str | None:
        """What is wrong with the layout itself, so that its figures would be of something that cannot be."""
        return next(self._faults(UNSOUND), None)

    @cached_property
    def uneven(self) -> str | None:
        """What is wrong with the batch: figures are then of the mean, over parts of sequences."""
        return next(self._faults(UNEVEN), None)

    @cached_property
    def even(self) -> Costs:
        """The plan with as many more sequences as it takes to divide them."""
        batch, data = self.plan.train.batch, self.plan.data
        parts = batch.microbatches * (self.plan.mesh.product(data.axes) if data else 1)
        whole = replace(batch, sequences=-(-batch.sequences // parts) * parts)
        return Costs(replace(self.plan, train=replace(self.plan.train, batch=whole)))

    def _faults(self, codes: frozenset[str]) -> Iterator[str]:
        from parc.check.rules import CHECKS

        for rule in CHECKS.rules:
            if rule.code in codes:
                yield from (f"{found.message} ({found.code})" for found in self.found(rule))

    def found(self, rule: Rule) -> tuple[Diagnostic, ...]:
        """What a rule finds in the plan: it is asked once."""
        if rule.code not in self.told:
            self.told[rule.code] = tuple(rule.run(self.plan))
        return self.told[rule.code]

    def require_sound(self) -> None:
        if self.fault:
            raise Unknown(self.fault)

    def require_even(self) -> None:
        """Before anything is advised: a batch that cannot be divided is mended first."""
        if self.uneven:
            raise Unknown(self.uneven)

    @cached_property
    def job(self) -> Job:
        from parc.cost.job.from_plan import derive_job

        self.require_sound()
        shape, pipeline = self.plan.train.model.shape, self.plan.pipeline
        missing = [key for key in SHAPE if not getattr(shape, key)]
        if shape.experts and not shape.top_k:
            missing.append("top_k")
        if missing:
            raise Unknown(f"the shape of `{self.plan.train.model.name}` does not say {_listed(missing)}")
        if pipeline:
            stages = self.plan.mesh.product(pipeline.axes) * pipeline.chunks
            if len(pipeline.layers) != stages or sum(pipeline.layers) != shape.layers:
                raise Unknown("the pipeline's `layers` do not fit the model and the mesh")
            if stages > MOST_STAGES:
                raise Unknown(f"{stages:,} stages are more than {MOST_STAGES:,}")
        found = self.attempt(lambda: derive_job(self.plan))
        if found is None:
            raise Unknown("the model's shape says too little")
        return found

    @property
    def timed(self) -> Job:
        """The job, on a machine that is known. Where it is not, the cost model need not even be imported."""
        if missing := _missing(self.plan.cluster):
            raise Unknown(f"the cluster `{self.plan.cluster.name}` does not say {_listed(missing)}")
        return self.job

    @cached_property
    def known(self) -> Calibration:
        """The constants that times are predicted with."""
        job = self.timed
        from parc.cost.timing.constants import find_nearest_calibration

        return find_nearest_calibration(job.require_hardware())

    @cached_property
    def links(self) -> Links:
        """The cluster's, with the bandwidth that is reached."""
        from parc.cost.timing.pass_times import derive_effective_links

        return derive_effective_links(self.timed.require_hardware(), self.known.constants)

    @cached_property
    def grade(self) -> Grade:
        """Of every time."""
        from parc.cost.explain import grade_times

        return grade_times(self.job, self.known)

    @cached_property
    def step(self) -> StepTime:
        constants = self.known.constants
        from parc.cost.timing.step import predict_step

        return self.attempt(lambda: predict_step(self.job, constants))

    @cached_property
    def step_figure(self) -> Figure:
        from parc.cost.explain import explain_step

        return self.attempt(lambda: explain_step(self.timed))

    @cached_property
    def mfu_figure(self) -> Figure:
        from parc.cost.explain import explain_mfu

        return self.attempt(lambda: explain_mfu(self.timed))

    @cached_property
    def memory(self) -> tuple[Figure, ...]:
        """Of a device of each pipeline rank: its peak, with the kinds as parts."""
        from parc.cost.explain import explain_memory

        ranks = range(self.job.degrees.pipeline)
        return self.attempt(lambda: tuple(explain_memory(self.job, rank) for rank in ranks))

    @cached_property
    def states(self) -> tuple[Figure, ...]:
        """The part of it that no schedule changes: parameters, gradients, optimizer."""
        from parc.cost.explain import explain_states
        from parc.cost.figure import add_figures

        ranks = range(self.job.degrees.pipeline)
        return self.attempt(
            lambda: tuple(add_figures("state", explain_states(self.job, rank)) for rank in ranks)
        )

    def in_flight(self, rank: int) -> int:
        """The most passes through stages of a pipeline rank that wait for their backward pass."""
        from parc.cost.schedule.in_flight import find_fullest_moments

        layout, ranks = self.job.parallelism, self.job.degrees.pipeline
        how = (layout.schedule, ranks, layout.chunks, layout.microbatches, rank)
        return max(sum(moment.outstanding) for moment in self.attempt(lambda: find_fullest_moments(*how)))

    def traffic(self, rank: int) -> tuple[Transfer, ...]:
        """What one device of a pipeline rank gives to the network in a step."""
        from parc.cost.network.traffic import derive_traffic

        if rank not in self.moved:
            stages = self.job.list_stage_indices(rank)
            self.moved[rank] = self.attempt(
                lambda: tuple(each for stage in stages for each in derive_traffic(self.job, stage))
            )
        return self.moved[rank]

    @cached_property
    def calls(self) -> tuple[dict[Transfer, int], ...]:
        """Of each of the `unlike` pipeline ranks: what one call moves, and how many there are in a step."""
        found: list[dict[Transfer, int]] = []
        for rank in self.unlike:
            counts: dict[Transfer, int] = {}
            for each in self.traffic(rank):
                if each.bytes:
                    alike = each._replace(calls=1)
                    counts[alike] = counts.get(alike, 0) + each.calls
            found.append(counts)
        return tuple(found)

    @cached_property
    def unlike(self) -> list[int]:
        """Pipeline ranks of which no other before holds the same kinds and numbers of layers."""
        found: dict[tuple[StageShape, ...], int] = {}
        for rank in range(self.job.degrees.pipeline):
            found.setdefault(self.job.list_stages(rank), rank)
        return list(found.values())

    def attempt(self, derive: Callable[[], T]) -> T:
        """`derive` refuses with a ValueError what the model does not cover."""
        try:
            return derive()
        except ValueError as refusal:
            raise Unknown(str(refusal)) from refusal
        except ArithmeticError as fault:  # a model of 1 hidden and 16 heads, of 10^40 layers, and so on
            raise Unknown("its sizes are beyond what the cost model can compute with") from fault


_latest: list[Costs] = []


def costs(plan: Plan) -> Costs:
    """All rules ask for the same plan one after the other: the last one's costs are kept."""
    if not _latest or _latest[0].plan is not plan:
        _latest[:] = [Costs(plan)]
    return _latest[0]


def _missing(cluster: Cluster) -> list[str]:
    """What a cluster does not say, of what times depend on."""
    missing = [f"device.{key}" for key in DEVICE if not getattr(cluster.device, key, None)]
    fast = {link.level for link in cluster.links if link.bandwidth}
    slow = (level.name for level in cluster.levels if level.size > 1 and level.name not in fast)
    return [*missing, *(f"link {name}" for name in slow)]


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
