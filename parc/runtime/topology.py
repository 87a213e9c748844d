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

from .connect import TIMEOUT


@dataclass(frozen=True)
class Topology:
    """`mesh` has every axis but the pipeline's: the ranks of one stage, over which its parameters lie."""

    mesh: DeviceMesh
    data: tuple[str, ...]  # axes that hold different sequences, outermost first
    pipeline: dist.ProcessGroup | None  # the ranks of the other stages at this rank's coordinates
    stage: int
    stages: int

    @classmethod
    def build(
        cls,
        axes: Mapping[str, int],
        *,
        data: Iterable[str] = (),
        pipeline: str | None = None,
        device: str = "cpu",
        timeout: timedelta = TIMEOUT,
    ) -> Topology:
        """The mesh of `axes`, outermost first (rank = mixed radix, last axis fastest), as this rank sees it.

        A collective call: all ranks make it together.
        """
        inner = tuple(axis for axis in axes if axis != pipeline)
        # parameters need a mesh also where there is nothing but a pipeline, or a single rank
        sizes = dict(axes) if inner else {**axes, "single": 1}
        world = init_device_mesh(device, tuple(sizes.values()), mesh_dim_names=tuple(sizes))
        for axis in sizes:  # the groups do not inherit the timeout of the default group
            _set_pg_timeout(timeout, world.get_group(axis))
        outermost_first = tuple(axis for axis in axes if axis in set(data))
        mesh = world[inner or ("single",)]
        if pipeline is None:
            return cls(mesh, outermost_first, None, 0, 1)
        group = world.get_group(pipeline)
        return cls(mesh, outermost_first, group, world.get_local_rank(pipeline), axes[pipeline])

    @property
    def last(self) -> bool:
        """Whether this rank's stage ends with the loss."""
        return self.stage == self.stages - 1

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
