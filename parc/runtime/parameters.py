"""Parameters of a sharded module: DTensors that carry how they begin and how their gradients are summed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias, cast

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard

Recipe: TypeAlias = tuple[tuple[str | float, ...], ...]
"""Calls applied in order to an empty tensor: `(("normal_", 0.0, 0.02), ("mul_", 0.5))`; see `init.draw`."""


class Declared(DTensor):
    """The type of what `parameter` returns, for the type checker only: nothing is an instance of it."""

    init: Recipe  # how its initial value is drawn
    experts: bool  # dim 0 counts experts, each drawn for itself
    blocks: Mapping[str, int]  # for each axis that shards a dim, in how many blocks it does
    reduce: tuple[str, ...]  # mesh axes over which each rank's gradient is a term of a pending sum


class Weights(nn.Module):
    """A layer of the user's model as the parameters that it holds, and perhaps layers below it."""

    def __init__(self, **members: nn.Parameter | nn.Module) -> None:
        super().__init__()
        for name, member in members.items():
            setattr(self, name, member)


class Stack(Weights):
    """Stands for the user's `ModuleList` of experts: its parameters are theirs, stacked on dim 0."""


def parameter(
    mesh: DeviceMesh,
    shape: tuple[int, ...],
    sharded: Mapping[str, int | tuple[int, int]] | None = None,
    *,
    init: Recipe,
    experts: bool = False,
    reduce: tuple[str, ...] = (),
    dtype: torch.dtype | None = None,
) -> nn.Parameter:
    """An uninitialised parameter of global `shape`, sharded as `{mesh axis: tensor dim}`, else replicated.

    `{mesh axis: (tensor dim, blocks)}` cuts the dim in equal blocks, each of which is shared out: query,
    key and value in one weight. As a DTensor knows nothing of blocks, its global view then has the rows
    in another order. Where several axes shard one dim, the outer axis of the mesh splits it first. It
    lives on the mesh's devices, or on the meta device inside `with torch.device("meta")`.
    """
    sharded = sharded or {}
    axes = mesh.mesh_dim_names or ()
    if unknown := [axis for axis in (*sharded, *reduce) if axis not in axes]:
        raise ValueError(f"no axis {unknown[0]!r} in the mesh {axes}")
    cuts = {axis: (cut, 1) if isinstance(cut, int) else cut for axis, cut in sharded.items()}
    local = list(shape)
    for axis, (dim, blocks) in cuts.items():
        ways = mesh.size(axes.index(axis))
        if local[dim] % (ways * blocks):
            what = (
                f"dim {dim} of {shape}" if blocks == 1 else f"each of {blocks} blocks of dim {dim} of {shape}"
            )
            raise ValueError(f"{what} does not divide over the {ways} ranks of axis {axis!r}")
        local[dim] //= ways
    device = "meta" if torch.get_default_device().type == "meta" else mesh.device_type
    placements: list[Placement] = [Shard(cuts[axis][0]) if axis in cuts else Replicate() for axis in axes]
    tensor = DTensor.from_local(
        torch.empty(local, device=device, dtype=dtype), mesh, placements, run_check=False
    )
    declared = cast(Declared, nn.Parameter(tensor))
    declared.init, declared.experts, declared.reduce = init, experts, reduce
    declared.blocks = {axis: blocks for axis, (_, blocks) in cuts.items()}
    return cast(nn.Parameter, declared)


def declared(module: nn.Module) -> Iterator[tuple[str, Declared]]:
    """The named parameters of a stage, which are all made by `parameter`."""
    for name, tensor in module.named_parameters():
        yield name, cast(Declared, tensor)


def sharded_axes(tensor: DTensor) -> tuple[str, ...]:
    """The mesh axes that hold different parts of `tensor`; on all others its values repeat."""
    names = tensor.device_mesh.mesh_dim_names or ()
    return tuple(name for name, place in zip(names, tensor.placements, strict=True) if place.is_shard())


def local_slices(tensor: DTensor) -> tuple[slice, ...]:
    """Where this rank's shard lies in the global tensor, one slice a dim."""
    mesh = tensor.device_mesh
    coordinate = mesh.get_coordinate()
    if coordinate is None:
        raise ValueError("this rank is not on the tensor's mesh")
    starts, sizes = [0] * tensor.ndim, list(tensor.shape)
    for axis, place in enumerate(tensor.placements):
        if isinstance(place, Shard):
            sizes[place.dim] //= mesh.size(axis)
            starts[place.dim] += coordinate[axis] * sizes[place.dim]
    return tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))


def share(parameter: Declared, full: torch.Tensor, front: int = 0) -> torch.Tensor:
    """This rank's share of `full`, which lacks the parameter's first `front` dims."""
    mesh = parameter.device_mesh
    coordinate, names = mesh.get_coordinate(), mesh.mesh_dim_names
    if coordinate is None or names is None:
        raise ValueError("this rank is not on the parameter's mesh")
    for axis, place in enumerate(parameter.placements):
        if isinstance(place, Shard) and place.dim >= front:
            dim = place.dim - front
            blocks, ways = parameter.blocks[names[axis]], mesh.size(axis)
            parts = full.reshape(*full.shape[:dim], blocks, ways, -1, *full.shape[dim + 1 :])
            full = parts.select(dim + 1, coordinate[axis]).flatten(dim, dim + 1)
    return full
