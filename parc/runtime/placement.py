"""Where the parameters of a stage lie: which part of which whole tensor each local tensor is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

Recipe: TypeAlias = tuple[tuple[str | float, ...], ...]
"""Calls applied in order to an empty tensor: `(("normal_", 0.0, 0.02), ("mul_", 0.5))`; see `init.draw`."""


@dataclass(frozen=True)
class Placement:
    """Where one parameter lies on the mesh, how it begins, and how its gradient is completed.

    A stage declares its parameters in one table. The modules hold plain local tensors; the table states which
    part of which whole tensor each of them is:

        NORMAL = normal(std=0.02)

        PLACEMENTS = declare_placements(
            reduce=("dp", "ep"),
            parameters={
                "embedding.weight": Placement((32000, 1024), {"tp": 0}, init=NORMAL),
                "layers.*.norm.weight": Placement((1024,), init=constant(1.0), reduce=("dp", "ep", "tp")),
                "layers.*.qkv.weight": Placement((3072, 1024), {"tp": (0, 3)}, init=uniform(-0.1, 0.1)),
                "layers.0-2.up.weight": Placement((4096, 1024), {"tp": 0}, init=uniform(-0.1, 0.1)),
                "layers.*.experts.up": Placement((8, 64, 32), {"ep": 0}, init=NORMAL, experts=True),
                "layers.*.bank.up.weight": Placement((8, 64, 32), init=NORMAL, stack="layers.*.bank"),
            },
        )

    A key is the path of a parameter in the stage. In place of a number of a layer it may have `*` for all of
    them, or numbers and ranges: `0-2,5`.

    - `shape` is that of the whole tensor.
    - `sharded` maps an axis of the mesh to the dim that it shards, or to (dim, blocks) where the dim consists
      of equal blocks each of which is sharded, such as query, key and value in one weight. On all other axes
      the ranks hold the same values. Where several axes shard one dim, the outer axis of the mesh splits it
      first.
    - `init` is how the initial value is drawn.
    - `reduce` names the axes over which each rank's gradient is a term of a sum; None for those of the table,
      see `declare_placements`.
    - `experts`: dim 0 counts experts, each of which is drawn for itself.
    - `stack`: dim 0 counts experts that are the children of a list of modules at this path in the user's
      model; each is drawn under the name that it has there, "layers.0.bank.3.up.weight".
    - `keep_fp32`: the model computes with it in float32, or a wider type. Its gradient is added up and sent
      in no less.
    """

    shape: tuple[int, ...]
    sharded: Mapping[str, int | tuple[int, int]] = field(default_factory=dict)
    init: Recipe = field(kw_only=True)
    reduce: tuple[str, ...] | None = field(default=None, kw_only=True)
    experts: bool = field(default=False, kw_only=True)
    stack: str | None = field(default=None, kw_only=True)
    keep_fp32: bool = field(default=False, kw_only=True)


def declare_placements(
    *, reduce: tuple[str, ...], parameters: Mapping[str, Placement]
) -> dict[str, Placement]:
    """A table of placements, with a common rule for gradients.

    Each rank's gradient is a term of a sum over the axes of `reduce`, because their ranks have different
    tokens, but for the axes that shard the parameter. Entries with a `reduce` of their own keep it.
    """

    def complete(placement: Placement) -> Placement:
        if placement.reduce is not None:
            return placement
        return replace(placement, reduce=tuple(axis for axis in reduce if axis not in placement.sharded))

    return {key: complete(placement) for key, placement in parameters.items()}


@dataclass(frozen=True, kw_only=True)
class Precision:
    """The types of what is kept beside each tensor that the model computes with.

    - `master` is that of the copy that the optimizer updates. The model's tensor is rounded from it after
      each update; where their types are the same, they share memory.
    - `gradients` is that in which gradients are added up over microbatches.
    - `reduce` is that in which ranks send each other gradients and sum them; None for that of `gradients`.
    """

    master: torch.dtype
    gradients: torch.dtype
    reduce: torch.dtype | None = None

    def widen(self) -> Precision:
        """These types, but none of them smaller than float32."""
        types = (self.master, self.gradients, self.reduce or self.gradients)
        master, gradients, reduce = (torch.promote_types(each, torch.float32) for each in types)
        return Precision(master=master, gradients=gradients, reduce=reduce)


class Cut(NamedTuple):
    """One axis that shards a parameter: `dim`, in `blocks` blocks, over `ranks`; `rank` is this one."""

    axis: str
    dim: int
    blocks: int
    ranks: int
    rank: int


class Slice(NamedTuple):
    """The elements of a flattened local tensor that this rank updates, where the ranks of `axes` share that.

    The slices of the `ranks` ranks follow each other and have `length` elements, but for those at the end of
    a tensor that does not divide: they are shorter, or empty.
    """

    axes: tuple[str, ...]  # in the order of the mesh
    ranks: int
    length: int
    elements: range


@dataclass(eq=False)
class PlacedParameter:
    """A parameter of a stage: the local tensor that a module holds, and its placement on the mesh."""

    name: str  # path in the stage
    tensor: nn.Parameter  # its gradient is in the type of `Precision.gradients`
    master: Tensor  # what the optimizer updates: as the tensor, or flat where it is a slice
    placement: Placement
    cuts: tuple[Cut, ...]  # in the order of the mesh
    reduce_dtype: torch.dtype  # of its gradient as ranks send it
    slice: Slice | None = None  # None: this rank updates the whole local tensor
    gathered: bool = False  # whether `tensor` has memory in passes alone, see `GatheredMemory`
    by_module: bool = False  # whether each backward pass reduces its gradient, see `ShardedModules`
    reduced: Tensor | None = None  # the gradient of its slice so far, where they do

    @property
    def sharded_axes(self) -> tuple[str, ...]:
        """The axes whose ranks hold different parts; on all others the values repeat."""
        return tuple(cut.axis for cut in self.cuts)

    @property
    def distinct_axes(self) -> frozenset[str]:
        """The axes whose ranks update different elements; on all others the same update is repeated."""
        return frozenset((*self.sharded_axes, *(self.slice.axes if self.slice else ())))

    @property
    def user_names(self) -> tuple[str, ...]:
        """Its names in the user's model: one, or one an expert where it stacks the children of a list."""
        stack = self.placement.stack
        if stack is None:
            return (self.name,)
        parts = self.name.split(".")
        depth = stack.count(".") + 1
        return tuple(
            ".".join([*parts[:depth], str(expert), *parts[depth:]])
            for expert in range(self.placement.shape[0])
        )

    @property
    def banks(self) -> tuple[str, ...]:
        """The paths that the module of experts may have whose list it stacks: the list's, or its owner's."""
        if self.placement.stack is None:
            return ()
        path = ".".join(self.name.split(".")[: self.placement.stack.count(".") + 1])
        return path, path.rpartition(".")[0]

    @property
    def rows(self) -> range:
        """The part of dim 0 that this rank holds: the numbers of its experts, where dim 0 counts experts."""
        rows = range(self.placement.shape[0])
        for cut in self.cuts:
            if cut.dim == 0:
                size = len(rows) // cut.ranks
                rows = rows[cut.rank * size : (cut.rank + 1) * size]
        return rows

    def locate_experts(self) -> Iterator[tuple[int, range]]:
        """The experts that the master has elements of, and which of its flattened elements these are."""
        size = self.tensor.numel() // len(self.rows)
        own = self.slice.elements if self.slice else range(self.tensor.numel())
        for row, expert in enumerate(self.rows):
            low, high = max(row * size, own.start), min((row + 1) * size, own.stop)
            if low < high:
                yield expert, range(low - own.start, high - own.start)

    def select_share(self, whole: Tensor, front: int = 0) -> Tensor:
        """This rank's part of `whole`, a tensor of the parameter's shape without its first `front` dims."""
        for cut in self.cuts:
            if cut.dim >= front:
                dim = cut.dim - front
                parts = torch.unflatten(whole, dim, (cut.blocks, cut.ranks, -1))
                whole = parts.select(dim + 1, cut.rank).flatten(dim, dim + 1)
        return whole

    def select_slice(self, local: Tensor) -> Tensor:
        """What this rank updates of `local`, a tensor of the local shape: a view; a slice of it is flat."""
        if self.slice is None:
            return local
        elements = self.slice.elements
        return local.view(-1)[elements.start : elements.stop]

    @property
    def kept(self) -> Tensor:
        """What this rank holds of the value between passes: the tensor; of a gathered one the master."""
        return self.master if self.gathered else self.tensor.detach()

    def set_elements(self, values: Tensor, start: int = 0) -> None:
        """Sets the elements from `start` on of the flattened tensor, and those of them in the master."""
        values = values.reshape(-1)
        stop = start + len(values)
        if not self.gathered:
            self.tensor.detach().view(-1)[start:stop].copy_(values)
        own = self.slice.elements if self.slice else range(self.tensor.numel())
        low, high = max(start, own.start), min(stop, own.stop)
        if low < high:
            part = values[low - start : high - start]
            self.master.view(-1)[low - own.start : high - own.start].copy_(part)

    @property
    def gradient(self) -> Tensor:
        """The gradient of the master: complete after `Gradients.complete`, in which ranks share the sum."""
        return self.select_slice(self.ensure_gradient()) if self.reduced is None else self.reduced

    def ensure_reduced(self) -> Tensor:
        """The gradient of its slice; set to zeros where no backward pass has reduced it."""
        if self.reduced is None:
            self.reduced = torch.zeros_like(self.master, dtype=self.tensor.grad_dtype)
        return self.reduced

    def drop_gradient(self) -> None:
        """Frees the gradient, before those of the next step are added up."""
        self.tensor.grad = self.reduced = None

    def ensure_gradient(self) -> Tensor:
        """This rank's part of the gradient; set to zeros where no microbatch has reached the parameter."""
        if self.tensor.grad is None:
            self.tensor.grad = torch.zeros_like(self.tensor, dtype=self.tensor.grad_dtype)
        return self.tensor.grad


def round_masters(parameters: Iterable[PlacedParameter]) -> None:
    """Sets what the model computes with from the masters of this rank, where these are of another type.

    What is gathered for each pass is rounded then.
    """
    copies = [each for each in parameters if each.master.dtype != each.tensor.dtype and not each.gathered]
    if copies:
        tensors = [each.select_slice(each.tensor.detach()) for each in copies]
        torch._foreach_copy_(tensors, [each.master for each in copies])


def place_parameters(
    stage: nn.Module,
    placements: Mapping[str, Placement],
    mesh: DeviceMesh,
    precision: Precision,
    shard: tuple[str, ...] = (),
    gather: bool = False,
) -> tuple[PlacedParameter, ...]:
    """The parameters of `stage` with their placements, and with masters that have no values yet.

    Ranks along the axes of `shard` that hold the same values, and have terms of their gradient, share the
    update: each has the masters of its slices. With `gather`, `stage` may be built on the meta device:
    parameters get memory here, and lose it again until they are gathered for a pass.

    Raises:
        ValueError: a parameter has no entry in the table or several, an entry does not fit the mesh, or a
            local tensor is not the part of the whole one that its placement leaves to a rank.
    """
    placed = []
    for name, tensor in list(stage.named_parameters()):
        local = _allocate(stage, name, mesh.device_type) if gather else tensor
        placed.append(_place(name, local, placements, mesh, precision, shard, gather))
    return tuple(placed)


def _allocate(stage: nn.Module, name: str, device: str) -> nn.Parameter:
    """A parameter with memory, in the place of one that may have none."""
    owner, _, last = name.rpartition(".")
    module = stage.get_submodule(owner)
    parameter = nn.Parameter(torch.empty_like(module.get_parameter(last), device=device))
    setattr(module, last, parameter)
    return parameter


def _place(
    name: str,
    tensor: nn.Parameter,
    placements: Mapping[str, Placement],
    mesh: DeviceMesh,
    precision: Precision,
    shard: tuple[str, ...],
    gather: bool,
) -> PlacedParameter:
    keys = [key for key in placements if matches(key, name)]
    if len(keys) != 1:
        found = f"{len(keys)} placements: {', '.join(keys)}" if keys else "no placement"
        raise ValueError(f"parameter {name} has {found}")
    (key,) = keys
    placement = placements[key]
    cuts, local = _cut(key, placement, mesh)
    if tuple(tensor.shape) != local:
        raise ValueError(
            f"parameter {name} is {tuple(tensor.shape)} on this rank; {placement.shape} over "
            f"{dict(placement.sharded)} leaves {local} to each"
        )
    types = precision.widen() if placement.keep_fp32 else precision
    tensor.grad_dtype = types.gradients
    own = _slice(tensor.numel(), placement, mesh, shard)
    sent = types.reduce or types.gradients
    placed = PlacedParameter(name, tensor, tensor.detach(), placement, cuts, sent, own)
    placed = replace(placed, master=placed.select_slice(placed.master).to(types.master))
    if not gather or (own is None and placed.master.dtype == tensor.dtype):
        return placed  # in the second case the tensor itself is the master
    placed = replace(placed, master=torch.empty_like(placed.master), gathered=True)
    tensor.untyped_storage().resize_(0)
    return placed


def _slice(count: int, placement: Placement, mesh: DeviceMesh, shard: tuple[str, ...]) -> Slice | None:
    """This rank's slice of `count` elements. Neighbouring slices are those of ranks on the outermost axis.

    So the sums of gradients begin on the innermost axis, and what is left for each outer one is a share.
    """
    terms = set(placement.reduce or ()) & set(shard)
    axes = tuple(axis for axis in mesh.mesh_dim_names or () if axis in terms and mesh[axis].size() > 1)
    if not axes:
        return None
    ranks, rank = 1, 0
    for axis in reversed(axes):
        size = mesh[axis].size()
        ranks, rank = ranks * size, rank * size + mesh.get_local_rank(axis)
    length = -(-count // ranks)
    return Slice(axes, ranks, length, range(count)[rank * length : (rank + 1) * length])


def _cut(key: str, placement: Placement, mesh: DeviceMesh) -> tuple[tuple[Cut, ...], tuple[int, ...]]:
    """The axes that shard a parameter, in the order of the mesh, and the shape that they leave to a rank."""
    axes, shape = mesh.mesh_dim_names or (), placement.shape
    if unknown := [axis for axis in (*placement.sharded, *(placement.reduce or ())) if axis not in axes]:
        raise ValueError(f"{key}: no axis {unknown[0]!r} in the mesh {axes}")
    cuts, local = [], list(shape)
    for number, axis in enumerate(axes):
        if axis not in placement.sharded:
            continue
        at = placement.sharded[axis]
        dim, blocks = at if isinstance(at, tuple) else (at, 1)
        ranks = mesh.size(number)
        if local[dim] % (ranks * blocks):
            what = f"dim {dim} of {shape}" if blocks == 1 else f"dim {dim} of {shape}, in {blocks} blocks,"
            raise ValueError(f"{key}: {what} does not divide over the {ranks} ranks of axis {axis!r}")
        local[dim] //= ranks
        cuts.append(Cut(axis, dim, blocks, ranks, mesh.get_local_rank(axis)))
    return tuple(cuts), tuple(local)


def matches(key: str, name: str) -> bool:
    """Whether a key of a table of placements stands for the parameter at a path."""
    keys, parts = key.split("."), name.split(".")
    return len(keys) == len(parts) and all(map(_matches_part, keys, parts))


def _matches_part(key: str, part: str) -> bool:
    if key == "*":
        return part.isdigit()
    if not (key[0].isdigit() and part.isdigit()):
        return key == part
    ranges = (each.partition("-") for each in key.split(","))
    return any(int(low) <= int(part) <= int(high or low) for low, _, high in ranges)
