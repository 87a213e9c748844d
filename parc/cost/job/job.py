"""A training job: a model, its parallelism, hardware and software.

Sizes are counts, bandwidths bytes a second per device and direction, times seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from functools import cached_property, wraps
from math import prod
from typing import Any, NamedTuple, TypeVar

from parc.cost.job.architecture import Architecture
from parc.cost.job.machine import Machine
from parc.cost.job.parallelism import Degrees, Layout
from parc.cost.job.software import Practice
from parc.plan.schema.plan import V_SHAPED
from parc.record import dataclass


@dataclass(frozen=True)
class Job:
    architecture: Architecture
    layout: Layout
    machine: Machine | None  # None: what it is made of is not known, and no time can be told
    practice: Practice = field(default_factory=Practice)
    load: float = 1.0  # rows of the fullest rank of experts, over the mean

    @property
    def hardware(self) -> Machine:
        """The machine, where a time is asked for.

        Raises:
            ValueError: it is not known.
        """
        if self.machine is None:
            raise ValueError("nothing is known of the machine")
        return self.machine

    @cached_property
    def known(self) -> dict[Any, Any]:
        """What has been found of this job and is asked for again: by functions marked `once`, above all."""
        return {}

    @cached_property
    def degrees(self) -> Degrees:
        return Degrees(*(round(prod(group)) for group in self.layout.reach))

    @cached_property
    def tokens(self) -> float:
        """Tokens of one microbatch on one rank."""
        return self.layout.sequences * self.architecture.length / self.degrees.context

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """What each stage holds, in the order of the model."""
        last = len(self.layout.layers) - 1
        stages, start = [], 0
        of = self.architecture
        dense = of.dense_layers if of.experts else of.layers
        for index, count in enumerate(self.layout.layers):
            without = max(0, min(start + count, dense) - start)
            stages.append(Stage(without, count - without, index == 0, index == last))
            start += count
        return tuple(stages)

    def places(self, rank: int) -> tuple[int, ...]:
        """The stages of one rank of the pipeline: down the ranks again and again, or down and up."""
        count = len(self.layout.layers)
        if self.layout.schedule in V_SHAPED:
            return rank, count - 1 - rank
        return tuple(range(rank, count, self.degrees.pipeline))

    def rank_of(self, place: int) -> int:
        """The rank of the pipeline that has a stage."""
        ranks = self.degrees.pipeline
        down = self.layout.schedule in V_SHAPED and place >= ranks
        return 2 * ranks - 1 - place if down else place % ranks

    def link(self, place: int) -> int:
        """Which of the pipeline's links leads from a stage to the next: the one from this rank upwards."""
        one, after = self.rank_of(place), self.rank_of(place + 1)
        return min(one, after) if self.layout.schedule in V_SHAPED else one

    def stages_of(self, rank: int) -> tuple[Stage, ...]:
        return tuple(self.stages[place] for place in self.places(rank))


Found = TypeVar("Found")


def once(function: Callable[[Job], Found]) -> Callable[[Job], Found]:
    """A function that is worked out once a job."""

    @wraps(function)
    def kept(job: Job) -> Found:
        known = job.known
        if function not in known:
            known[function] = function(job)
        found: Found = known[function]
        return found

    return kept


class Stage(NamedTuple):
    dense: int  # layers
    sparse: int  # layers with experts
    first: bool  # has the embedding
    last: bool  # has the head and the loss
