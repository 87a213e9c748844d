"""The position of this rank: the mesh of all ranks, the mesh of its pipeline stage, its share of the data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.distributed_c10d import _set_pg_timeout

from .process.connect import TIMEOUT


@dataclass(frozen=True)
class Topology:
    """`mesh` has every axis but the pipeline's: the ranks of a stage, over which its parameters lie.

    A rank of a pipeline runs one stage, or several: `stages` are their numbers, first to last.
    """

    mesh: DeviceMesh
    data: tuple[str, ...]  # axes that hold different sequences, outermost first
    pipeline: dist.ProcessGroup | None  # the ranks of the other stages at this rank's coordinates
    stages: tuple[int, ...] = (0,)
    stage_count: int = 1  # on all ranks together
    loss_rank: int = 0  # of `pipeline`: the one whose last stage ends with the loss

    @classmethod
    def build(
        cls,
        axes: Mapping[str, int],
        *,
        data: Iterable[str] = (),
        groups: Mapping[str, tuple[str, ...]] | None = None,
        pipeline: str | None = None,
        chunks: int = 1,
        v_shaped: bool = False,
        device: str = "cpu",
        timeout: timedelta = TIMEOUT,
    ) -> Topology:
        """The mesh of `axes`, outermost first (rank = mixed radix, last axis fastest), as this rank sees it.

        `groups` are those over several axes, by name: `{"dp_tp": ("dp", "tp")}`. Their ranks are in the order
        of the mesh. `pipeline` is an axis, or one of these groups.

        `chunks` is the number of stages on each rank. They go round the ranks in turn; where they are
        `v_shaped`, down the ranks with the first chunk and back up with the second.

        A collective call: all ranks make it together.
        """
        folded = groups or {}
        staged = folded.get(pipeline, (pipeline,)) if pipeline else ()
        inner = tuple(axis for axis in axes if axis not in staged)
        # parameters need a mesh also where there is nothing but a pipeline, or a single rank
        sizes = dict(axes) if inner else {**axes, "single": 1}
        world = init_device_mesh(device, tuple(sizes.values()), mesh_dim_names=tuple(sizes))
        for group, members in folded.items():
            world[members]._flatten(group)  # noqa: SLF001 - there is no public name for it
        for group in (*sizes, *folded):  # they do not inherit the timeout of the default group
            _set_pg_timeout(timeout, world.get_group(group))
        outermost_first = tuple(axis for axis in axes if axis in set(data))
        mesh = world[inner or ("single",)]
        if pipeline is None:
            return cls(mesh, outermost_first, None)
        stage_group = world.get_group(pipeline)
        rank, ranks = stage_group.rank(), stage_group.size()
        count = ranks * chunks
        stages = (rank, count - 1 - rank) if v_shaped else tuple(range(rank, count, ranks))
        loss_rank = 0 if v_shaped else ranks - 1
        return cls(mesh, outermost_first, stage_group, stages, count, loss_rank)

    @property
    def last(self) -> bool:
        """Whether this rank's last stage ends with the loss."""
        return self.stages[-1] == self.stage_count - 1

    @cached_property
    def data_ranks(self) -> int:
        """How many ranks share a microbatch."""
        return math.prod(self.mesh[axis].size() for axis in self.data)

    @cached_property
    def data_rank(self) -> int:
        """Which slice of each microbatch this rank reads."""
        rank = 0
        for axis in self.data:
            rank = rank * self.mesh[axis].size() + self.mesh.get_local_rank(axis)
        return rank

    def sum(self, tensor: torch.Tensor, axes: Iterable[str]) -> None:
        """Adds up, in place, what the ranks of this stage hold along `axes`."""
        for axis in axes:
            group = self.mesh.get_group(axis)
            if group.size() > 1:
                dist.all_reduce(tensor, group=group)
