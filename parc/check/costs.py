"""What one plan costs, by the cost model: each figure is computed when it is asked for, and once.

The cost model itself is imported at that moment too: many plans ask for nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from parc.cost.figure import add_figures
from parc.plan.blocks import Cluster, Plan
from parc.record import replace

if TYPE_CHECKING:
    from parc.cost.figure import Figure, Grade
    from parc.cost.job.job import Job, StageShape
    from parc.cost.network.collective_times import Links
    from parc.cost.network.traffic import Transfer
    from parc.cost.timing.constants import Calibration
    from parc.cost.timing.step import StepTime

T = TypeVar("T")
SHAPE = ("layers", "hidden", "heads", "ffn", "vocab")
DEVICE = ("compute", "memory", "memory_bandwidth")
MOST_STAGES = 1024  # of which memory and traffic are derived one by one
MEMORY_ERROR = 0.02
"""How far a predicted peak is off, as a share of it: the mean of the source that is met worst, by
docs/accuracy.md."""


class Unknown(Exception):
    """A figure cannot be derived: why, in words for the user."""


def call_cost_model(derive: Callable[[], T]) -> T:
    """Calls `derive`; a refusal of the cost model becomes Unknown.

    Raises:
        Unknown: the cost model does not cover the plan.
    """
    try:
        return derive()
    except ValueError as refusal:
        raise Unknown(str(refusal)) from refusal
    except ArithmeticError as fault:  # a model of 1 hidden and 16 heads, of 10^40 layers, and so on
        raise Unknown("its sizes are beyond what the cost model can compute with") from fault


class Costs:
    """The figures of a plan. `parc.check.detection.price` makes one.

    `layout_fault` is an error of the layout, with which it has no figures; `batch_fault` one of the batch,
    with which they are those of the mean. Every figure raises `Unknown` where the plan does not say enough,
    or the cost model does not cover it.
    """

    def __init__(self, plan: Plan, layout_fault: str | None, batch_fault: str | None) -> None:
        self.plan = plan
        self.layout_fault = layout_fault
        self.batch_fault = batch_fault

    @cached_property
    def even(self) -> Costs:
        """The costs with the number of sequences rounded up to one that the batch can be divided into."""
        batch = self.plan.train.batch
        parts = batch.microbatches * self.plan.mesh.product(self.plan.list_axes("data"))
        whole = replace(batch, sequences=-(-batch.sequences // parts) * parts)
        return Costs(replace(self.plan, train=replace(self.plan.train, batch=whole)), self.layout_fault, None)

    def require_sound(self) -> None:
        if self.layout_fault:
            raise Unknown(self.layout_fault)

    def require_even(self) -> None:
        """Before anything is advised: a batch that cannot be divided is to be corrected first."""
        if self.batch_fault:
            raise Unknown(self.batch_fault)

    def require_timed(self) -> None:
        if missing := _find_missing(self.plan.cluster):
            raise Unknown(f"the cluster `{self.plan.cluster.name}` does not say {_list(missing)}")

    @cached_property
    def job(self) -> Job:
        from parc.cost.job.from_plan import derive_job  # noqa: PLC0415 - start-up time

        self.require_sound()
        shape, pipeline = self.plan.train.model.shape, self.plan.pipeline
        missing = [key for key in SHAPE if not getattr(shape, key)]
        if shape.experts and not shape.top_k:
            missing.append("top_k")
        if missing:
            raise Unknown(f"the shape of `{self.plan.train.model.name}` does not say {_list(missing)}")
        if pipeline:
            stages = self.plan.mesh.product(pipeline.axes) * pipeline.chunks
            if len(pipeline.layers) != stages or sum(pipeline.layers) != shape.layers:
                raise Unknown("the pipeline's `layers` do not fit the model and the mesh")
            if stages > MOST_STAGES:
                raise Unknown(f"{stages:,} stages are more than {MOST_STAGES:,}")
        found = call_cost_model(lambda: derive_job(self.plan))
        if found is None:
            raise Unknown("the shape of the model is incomplete")
        return found

    @property
    def timed_job(self) -> Job:
        """The job, on a machine that is known. Where it is not, the cost model need not even be imported."""
        self.require_timed()
        return self.job

    @cached_property
    def calibration(self) -> Calibration:
        """The constants that times are predicted with."""
        job = self.timed_job
        from parc.cost.timing.constants import find_nearest_calibration  # noqa: PLC0415 - start-up time

        return find_nearest_calibration(job.require_hardware())

    @cached_property
    def links(self) -> Links:
        """The cluster's, with the bandwidth that is reached."""
        from parc.cost.timing.pass_times import derive_effective_links  # noqa: PLC0415 - start-up time

        return derive_effective_links(self.timed_job.require_hardware(), self.calibration.constants)

    @cached_property
    def time_grade(self) -> Grade:
        from parc.cost.explain import grade_times  # noqa: PLC0415 - start-up time

        return grade_times(self.job, self.calibration)

    @cached_property
    def step(self) -> StepTime:
        constants = self.calibration.constants
        from parc.cost.timing.step import predict_step  # noqa: PLC0415 - start-up time

        return call_cost_model(lambda: predict_step(self.job, constants))

    @cached_property
    def step_figure(self) -> Figure:
        from parc.cost.explain import explain_step  # noqa: PLC0415 - start-up time

        return call_cost_model(lambda: explain_step(self.timed_job))

    @cached_property
    def mfu_figure(self) -> Figure:
        from parc.cost.explain import explain_mfu  # noqa: PLC0415 - start-up time

        return call_cost_model(lambda: explain_mfu(self.timed_job))

    @cached_property
    def memory(self) -> tuple[Figure, ...]:
        """Of a device of each pipeline rank: its peak, with the kinds as parts."""
        from parc.cost.explain import explain_memory  # noqa: PLC0415 - start-up time

        ranks = range(self.job.degrees.pipeline)
        return call_cost_model(lambda: tuple(explain_memory(self.job, rank) for rank in ranks))

    @cached_property
    def states(self) -> tuple[Figure, ...]:
        """The part of it that no schedule changes: parameters, gradients, optimizer."""
        from parc.cost.explain import explain_states  # noqa: PLC0415 - start-up time

        ranks = range(self.job.degrees.pipeline)
        return call_cost_model(
            lambda: tuple(add_figures("state", explain_states(self.job, rank)) for rank in ranks)
        )

    def count_in_flight(self, rank: int) -> int:
        """The most passes through stages of a pipeline rank that wait for their backward pass."""
        from parc.cost.schedule.in_flight import find_fullest_moments  # noqa: PLC0415 - start-up time

        layout, ranks = self.job.parallelism, self.job.degrees.pipeline
        how = (layout.schedule, ranks, layout.chunks, layout.microbatches, rank)
        return max(sum(moment.outstanding) for moment in call_cost_model(lambda: find_fullest_moments(*how)))

    @cached_property
    def calls(self) -> dict[int, dict[Transfer, int]]:
        """For each of the `unlike_ranks`: what one call of one device moves, and how many a step has."""
        return call_cost_model(lambda: {rank: self._count_calls(rank) for rank in self.unlike_ranks})

    def _count_calls(self, rank: int) -> dict[Transfer, int]:
        from parc.cost.network.traffic import derive_traffic  # noqa: PLC0415 - start-up time

        counts: dict[Transfer, int] = {}
        for stage in self.job.list_stage_indices(rank):
            for each in derive_traffic(self.job, stage):
                if each.bytes:
                    one = each._replace(calls=1)
                    counts[one] = counts.get(one, 0) + each.calls
        return counts

    @cached_property
    def unlike_ranks(self) -> list[int]:
        """Pipeline ranks of which no other before holds the same kinds and numbers of layers."""
        found: dict[tuple[StageShape, ...], int] = {}
        for rank in range(self.job.degrees.pipeline):
            found.setdefault(self.job.list_stages(rank), rank)
        return list(found.values())


def _find_missing(cluster: Cluster) -> list[str]:
    """The keys of the cluster that times depend on and that are not given."""
    missing = [f"device.{key}" for key in DEVICE if not getattr(cluster.device, key, None)]
    fast = {link.level for link in cluster.links if link.bandwidth}
    slow = (level.name for level in cluster.levels if level.size > 1 and level.name not in fast)
    return [*missing, *(f"link {name}" for name in slow)]


def _list(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
