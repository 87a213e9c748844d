"""Runs a program and its model with all activations, gradients and parameters kept, to be compared."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from parc.runtime.data.datasets import Dataset
from parc.runtime.placement import PlacedParameter
from parc.verify.execution.trainer import (
    is_in_backward_pass,
    join_slices,
    load_trainer,
    read_shard,
    reads_slice,
    run_step,
)
from parc.verify.numbers.reference import Reference, ReferenceStep


class ActivationKey(NamedTuple):
    """One tensor that a module returns for one microbatch. `output` counts the tensors that it returns."""

    microbatch: int
    path: str
    output: int


class ActivationHooks:
    """Keeps the outputs of the modules at `paths` below `roots` in the order of their calls, on the CPU.

    `gradients` has the gradients of the same tensors in the order in which they are known.
    """

    def __init__(self, roots: Iterable[nn.Module], paths: Container[str]) -> None:
        self.clear()
        for path, module in (named for root in roots for named in root.named_modules()):
            if path in paths:
                module.register_forward_hook(partial(self._keep_outputs, path))

    def clear(self) -> None:
        """Starts a new step."""
        self.outputs: dict[ActivationKey, Tensor] = {}
        self.gradients: dict[ActivationKey, Tensor] = {}
        self._calls: Counter[str] = Counter()

    def _keep_outputs(self, path: str, _module: nn.Module, _args: Any, out: Any) -> None:
        if is_in_backward_pass():
            return  # the same tensors once more
        microbatch = self._calls[path]
        self._calls[path] += 1
        tensors = [leaf for leaf in pytree.tree_leaves(out) if isinstance(leaf, Tensor)]
        for number, tensor in enumerate(tensors):
            key = ActivationKey(microbatch, path, number)
            self.outputs[key] = tensor.detach().to("cpu", copy=True)
            if tensor.requires_grad:
                tensor.register_hook(partial(self._keep_gradient, key))  # type: ignore[no-untyped-call]

    def _keep_gradient(self, key: ActivationKey, gradient: Tensor) -> None:
        self.gradients[key] = gradient.detach().to("cpu", copy=True)


@dataclass(frozen=True)
class ReferenceActivations:
    """One step of the model on one device."""

    step: ReferenceStep
    outputs: Mapping[ActivationKey, Tensor]  # in the order of the forward pass
    gradients: Mapping[ActivationKey, Tensor]  # of the outputs, in the order of the backward pass


@dataclass(frozen=True)
class RankActivations:
    """One step of one rank of the program: shards, as this rank holds them."""

    modules: Mapping[int, str]  # the file that defines each of its stages
    figures: Mapping[str, float]
    outputs: Mapping[ActivationKey, Tensor]
    gradients: Mapping[ActivationKey, Tensor]
    user_names: Mapping[str, tuple[str, ...]]  # of each parameter, in the user's model
    parameter_gradients: Mapping[str, Tensor]  # before clipping
    parameters: Mapping[str, Tensor]  # after the update


def run_reference(reference: Reference, count: int, paths: Collection[str]) -> Iterator[ReferenceActivations]:
    """The first `count` steps of the model. The outputs of modules at `paths` are kept."""
    model = reference.build_model()
    hooks = ActivationHooks([model], paths)
    for step in reference.train(count, model):
        yield ReferenceActivations(step, hooks.outputs, hooks.gradients)
        hooks.clear()


def run_rank(folder: Path, dataset: Dataset, count: int, paths: Collection[str]) -> list[RankActivations]:
    """The same steps of the program in `folder`, on this rank."""
    trainer = load_trainer(folder, dataset, "cpu")
    hooks = ActivationHooks(trainer.stages, paths)
    return [_run_step(trainer, hooks, number) for number in range(count)]


def _run_step(trainer: Any, hooks: ActivationHooks, number: int) -> RankActivations:
    hooks.clear()
    gradients: dict[str, Tensor] = {}
    figures = run_step(trainer, number, lambda: gradients.update(_copy_parameters(trainer, gradient=True)))
    return RankActivations(
        modules=dict(zip(trainer.topology.stages, map(_find_file, trainer.stages), strict=True)),
        figures=figures,
        outputs=hooks.outputs,
        gradients=hooks.gradients,
        user_names={each.name: each.user_names for each in trainer.parameters},
        parameter_gradients=gradients,
        parameters=_copy_parameters(trainer, gradient=False),
    )


def _find_file(stage: nn.Module) -> str:
    return Path(sys.modules[type(stage).__module__].__file__ or "").name


def _copy_parameters(trainer: Any, *, gradient: bool) -> dict[str, Tensor]:
    """Every parameter's shard, or that of its gradient, which is zero where it is missing."""

    def copy(parameter: PlacedParameter) -> Tensor:
        held = read_shard(parameter, gradient=gradient).clone()
        is_slice = reads_slice(parameter, gradient=gradient)
        return join_slices(parameter, held, trainer.topology.mesh) if is_slice else held

    return {each.name: copy(each) for each in trainer.parameters}
