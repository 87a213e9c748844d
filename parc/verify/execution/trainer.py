"""The trainer of an emitted program: loading it, and one step with a look at the complete gradients."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from parc.runtime.data import Dataset
from parc.verify.execution.watchdog import restart_watchdog
from parc.verify.report import NotProvable

FIGURES = {"loss": "loss", "balance": "balance loss", "grad_norm": "gradient norm", "lr": "learning rate"}
"""The figures that a step reports, and their names in messages."""


def load_trainer(folder: Path, dataset: Dataset, device: str) -> Any:
    """The `Trainer` that the program in `folder` prepares for this rank. Its modules replace any other's."""
    own = {path.stem for path in folder.iterdir()}
    for name in [name for name in sys.modules if name.partition(".")[0] in own]:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    train = import_module("train")
    return train.prepare(dataset, train.parsed(["--data", "unused", "--device", device]), device)


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
    restart_watchdog()
    figures = trainer.step(number)
    restart_watchdog()
    del trainer.update
    if not inspected:
        raise NotProvable("the edited `step` does not call `update`: its gradients cannot be inspected")
    defaults = {"balance": 0.0} if trainer.objective.balance is None else {}
    return {name: {**defaults, **figures}.get(key, float("nan")) for key, name in FIGURES.items()}


class LocalParameter(NamedTuple):
    """A parameter of a running stage. `originals`: its names in the user's model.

    There is one original name, or one for each expert where the model holds its experts in a list.
    """

    name: str
    originals: tuple[str, ...]
    parameter: Any

    @property
    def has_gradient(self) -> bool:
        return self.parameter.grad is not None

    def read(self, *, gradient: bool) -> Tensor:
        """This rank's shard of the value or of the gradient, on the CPU. A missing gradient is zero."""
        held = self.parameter.grad if gradient and self.has_gradient else self.parameter.detach()
        shard: Tensor = held.to_local().cpu()
        return torch.zeros_like(shard) if gradient and not self.has_gradient else shard

    def select_share(self, whole: Mapping[str, Tensor]) -> Tensor:
        """This rank's share of a value that `whole` has by original name."""
        share: Tensor = import_module("runtime.parameters").share(
            self.parameter, join_originals(self.originals, whole)
        )
        return share


def list_parameters(trainer: Any) -> list[LocalParameter]:
    """All parameters of this rank's stage."""
    return [
        LocalParameter(name, originals, parameter)
        for name, parameter, originals in import_module("runtime.init").original_names(trainer.stage)
    ]


def join_originals(originals: Sequence[str], values: Mapping[str, Tensor]) -> Tensor:
    """The value of a parameter from those of its originals: experts of a list are stacked on dim 0."""
    return values[originals[0]] if len(originals) == 1 else torch.stack([values[name] for name in originals])
