"""A training job: a model, its parallelism, hardware and software.

A job is derived from a plan (`from_plan.py`) or from a row of measured data (`parc/cost/validate/`). Sizes
are counts, bandwidths bytes a second per device and direction, times seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, wraps
from math import prod
from typing import Any, TypeVar

from parc.cost.job.architecture import Architecture
from parc.cost.job.hardware import Hardware
from parc.cost.job.parallelism import Degrees, Parallelism
from parc.cost.job.software import Software
from parc.named_tuple import NamedTuple
from parc.plan.schema.plan import V_SHAPED
from parc.record import dataclass, field


class StageShape(NamedTuple):
    """The part of the model that one pipeline stage has."""

    dense_layers: int
    moe_layers: int
    has_embedding: bool
    has_head: bool  # and the loss
    no_attention: int = 0  # of all these layers


class ShardRanks(NamedTuple):
    """The ranks that share optimizer states, or more: of all but experts, and of experts."""

    others: int
    experts: int


@dataclass(frozen=True)
class Job:
    """A training job. Everything that the cost model derives is a function of it."""

    architecture: Architecture
    parallelism: Parallelism
    hardware: Hardware | None  # None: unknown, so that no time can be predicted
    software: Software = field(default_factory=Software)
    expert_imbalance: float = 1.0  # rows of the fullest rank of experts, over the mean
    capacity: float | None = None  # rows of an expert, over its even share, beyond which pairs are dropped

    def require_hardware(self) -> Hardware:
        """The hardware, for predictions of time.

        Raises:
            ValueError: the hardware is unknown.
        """
        if self.hardware is None:
            raise ValueError("the machine is unknown")
        return self.hardware

    @cached_property
    def cache(self) -> dict[Any, Any]:
        """Intermediate results that several predictions share, above all those of `cached_per_job`."""
        return {}

    @cached_property
    def degrees(self) -> Degrees:
        """The number of ranks in each group."""
        return Degrees(*(round(prod(group)) for group in self.parallelism.groups))

    @cached_property
    def expert_load(self) -> float:
        """Rows that are computed on the fullest rank of experts, over their even share."""
        return self.expert_imbalance if self.capacity is None else min(self.expert_imbalance, self.capacity)

    @cached_property
    def shard_ranks(self) -> ShardRanks:
        """The number of ranks that share what `shard` names."""
        layout = self.parallelism
        replicas, copies = (
            prod(map(prod, fans)) for fans in (layout.replica_fan_outs, layout.expert_replica_fan_outs)
        )
        return ShardRanks(round(self.degrees.data / replicas), round(self.degrees.expert_data / copies))

    @cached_property
    def tokens(self) -> float:
        """Tokens of one microbatch on one rank."""
        return self.parallelism.sequences * self.architecture.length / self.degrees.context

    @cached_property
    def stages(self) -> tuple[StageShape, ...]:
        """All stages, in the order of the model."""
        last = len(self.parallelism.layers) - 1
        stages, start = [], 0
        model = self.architecture
        for index, count in enumerate(self.parallelism.layers):
            end = start + count
            dense = _count_dense(model, end) - _count_dense(model, start)
            without = end * model.no_attention // model.layers - start * model.no_attention // model.layers
            stages.append(StageShape(dense, count - dense, index == 0, index == last, without))
            start = end
        return tuple(stages)

    def list_stage_indices(self, rank: int) -> tuple[int, ...]:
        """The stages of one pipeline rank. In a V-shaped schedule the second half runs back up the ranks."""
        count = len(self.parallelism.layers)
        if self.parallelism.schedule in V_SHAPED:
            return rank, count - 1 - rank
        return tuple(range(rank, count, self.degrees.pipeline))

    def list_stages(self, rank: int) -> tuple[StageShape, ...]:
        """The stages of one pipeline rank."""
        return tuple(self.stages[index] for index in self.list_stage_indices(rank))

    def find_rank(self, stage: int) -> int:
        """The pipeline rank that has a stage."""
        ranks = self.degrees.pipeline
        returning = self.parallelism.schedule in V_SHAPED and stage >= ranks
        return 2 * ranks - 1 - stage if returning else stage % ranks

    def find_link(self, stage: int) -> int:
        """The lower rank of the link from a stage to the next; links of a pipeline are numbered by it."""
        one, after = self.find_rank(stage), self.find_rank(stage + 1)
        return min(one, after) if self.parallelism.schedule in V_SHAPED else one


def _count_dense(model: Architecture, end: int) -> int:
    """How many of the first `end` layers have no experts."""
    if not model.experts or end <= model.dense_layers:
        return end
    after = max(1, model.layers - model.dense_layers)
    return model.dense_layers + (end - model.dense_layers) * model.scattered_layers // after


Result = TypeVar("Result")


def cache_per_job(function: Callable[[Job], Result]) -> Callable[[Job], Result]:
    """Decorates a function of a job: it is computed once for each job."""

    @wraps(function)
    def cached(job: Job) -> Result:
        if function not in job.cache:
            job.cache[function] = function(job)
        result: Result = job.cache[function]
        return result

    return cached
