"""The trainer of an emitted program: loading it, and one step with a look at the complete gradients."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from parc.runtime.data.datasets import Dataset
from parc.runtime.placement import PlacedParameter
from parc.verify.execution.watchdog import WATCHDOG
from parc.verify.report import NotProvable

FIGURES = {"loss": "loss", "balance": "balance loss", "grad_norm": "gradient norm", "lr": "learning rate"}
"""The figures that a step reports, and their names in messages."""


def is_in_backward_pass() -> bool:
    """Whether autograd is running here: a forward pass in it is the second one of a recomputed module."""
    return torch._C._current_graph_task_id() != -1


def load_trainer(folder: Path, dataset: Dataset, device: str) -> Any:
    """The `Trainer` that the program in `folder` prepares for this rank."""
    train, options = prepare_program(folder, device)
    return train.build_trainer(dataset, options, device)


def prepare_program(folder: Path, device: str) -> tuple[Any, Any]:
    """The module `train` of the program in `folder`, and its options. Its modules replace any other's."""
    forget_modules({path.stem for path in folder.iterdir()})
    sys.path.insert(0, str(folder))
    train = import_module("train")
    return train, train.parse_arguments(["--data", "unused", "--device", device])


def forget_modules(names: Container[str]) -> None:
    """Makes modules of these names, and those inside them, be imported again."""
    for name in [name for name in sys.modules if name.partition(".")[0] in names]:
        del sys.modules[name]


def run_step(trainer: Any, number: int, inspect: Callable[[], None]) -> Mapping[str, float]:
    """Takes a step; the figures that it reports, by the names of `FIGURES`. A missing figure is NaN.

    `inspect` is called when the gradients are complete, before they are clipped. Raises NotProvable where
    the step does not call `update`, because nothing marks that moment then.
    """
    update, inspected = trainer.update, False

    def inspect_and_update(*args: Any) -> Any:
        nonlocal inspected
        inspected = True
        inspect()
        return update(*args)

    trainer.update = inspect_and_update
    WATCHDOG.restart()
    figures = trainer.step(number)
    WATCHDOG.restart()
    del trainer.update
    if not inspected:
        raise NotProvable("the edited `step` does not call `update`: its gradients cannot be inspected")
    defaults = {"balance": 0.0} if trainer.objective.balance is None else {}
    return {name: {**defaults, **figures}.get(key, float("nan")) for key, name in FIGURES.items()}


def read_shard(parameter: PlacedParameter, *, gradient: bool) -> Tensor:
    """This rank's shard of the master or of the gradient, on the CPU. A missing gradient is zero.

    Where ranks share an update, it is this rank's slice, as `select_known` cuts it; but of a master that the
    model computes with it is the whole tensor, which the other ranks have completed.
    """
    if gradient:
        return parameter.gradient.cpu()
    return (parameter.master if _keeps_master(parameter) else parameter.tensor.detach()).cpu()


def select_known(parameter: PlacedParameter, local: Tensor, *, gradient: bool) -> Tensor:
    """What `read_shard` reads of a tensor of the local shape."""
    is_slice = reads_slice(parameter, gradient=gradient)
    return parameter.select_slice(local.contiguous()) if is_slice else local


def reads_slice(parameter: PlacedParameter, *, gradient: bool) -> bool:
    """Whether `read_shard` reads a slice of the local tensor."""
    return parameter.slice is not None and (gradient or _keeps_master(parameter))


def _keeps_master(parameter: PlacedParameter) -> bool:
    """Whether the model computes with another tensor than the master: a rounded copy, or what is gathered."""
    return parameter.gathered or parameter.tensor.dtype != parameter.master.dtype


def join_slices(parameter: PlacedParameter, own: Tensor, mesh: DeviceMesh) -> Tensor:
    """The local tensor of which each rank has the slice `own`. The ranks of `mesh` call this together."""
    if parameter.slice is None:
        return own
    local = own.new_zeros(parameter.tensor.shape)
    parameter.select_slice(local).copy_(own)
    for axis in parameter.slice.axes:
        torch.distributed.all_reduce(local, group=mesh.get_group(axis))
    return local


def select_share(parameter: PlacedParameter, whole: Mapping[str, Tensor]) -> Tensor:
    """This rank's share of a value that `whole` has by the names of the user's model."""
    return parameter.select_share(join_experts(parameter.name, parameter.user_names, whole))


def join_experts(name: str, user_names: Sequence[str], values: Mapping[str, Tensor]) -> Tensor:
    """The value of a parameter of a program: experts that the user's model has in a list are stacked."""
    return values[name] if user_names == (name,) else torch.stack([values[each] for each in user_names])
