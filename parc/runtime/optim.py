"""AdamW over the parameters of this rank, and the learning rate of each step."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from .placement import PlacedParameter, round_masters
from .rounded_adamw import RoundedAdamW

Expert: TypeAlias = tuple[str, int]
"""The path of a module of experts, and the number of one of them."""


@dataclass(frozen=True, kw_only=True)
class AdamWSettings:
    """`clip` is the largest global gradient norm; `warmup` and `steps` are numbers of optimizer steps.

    `idle_experts` is what a step does to an expert of a list of modules that no token has reached: with
    "skip" its parameters, moments and its own count of steps stay as they are. `moments` is the type in which
    moments are kept; None for that of the masters.
    """

    lr: float
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1
    clip: float | None = None
    warmup: int = 0
    decay: Literal["constant", "cosine"] = "constant"
    min_lr: float = 0.0
    steps: int = 1
    idle_experts: Literal["update", "skip"] = "update"
    moments: torch.dtype | None = None

    def learning_rate(self, step: int) -> float:
        """Rises linearly to `lr` in the warm-up; then constant, or a cosine to `min_lr` at `steps`."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        if self.decay == "constant":
            return self.lr
        done = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        return self.min_lr + (self.lr - self.min_lr) * (1.0 + math.cos(math.pi * done)) / 2.0


class ScheduledAdamW:
    """torch's fused AdamW over the masters of local tensors, with the learning rate of each step.

    AdamW is elementwise, so that the update of a shard is the shard of the update.
    """

    def __init__(self, parameters: Sequence[PlacedParameter], settings: AdamWSettings) -> None:
        self.parameters = parameters
        self.settings = settings
        self.masters = {each.name: self.split(each, each.master) for each in parameters}
        self.experts: dict[Expert, list[Tensor]] = defaultdict(list)  # masters of those that may be skipped
        for parameter in filter(self.is_split, parameters):
            masters = self.masters[parameter.name]
            for (number, _), master in zip(parameter.locate_experts(), masters, strict=True):
                for path in parameter.banks:
                    self.experts[path, number].append(master)
        build: Callable[..., torch.optim.AdamW] = torch.optim.AdamW
        if settings.moments is not None:
            build = partial(RoundedAdamW, moments=settings.moments)
        self.adamw = build(
            [master for masters in self.masters.values() for master in masters],
            lr=settings.lr,
            betas=(settings.beta1, settings.beta2),
            eps=settings.eps,
            weight_decay=settings.weight_decay,
            fused=True,
        )

    def is_split(self, parameter: PlacedParameter) -> bool:
        """Whether AdamW takes each expert by itself: it counts the steps of a tensor, for its moments."""
        return self.settings.idle_experts == "skip" and bool(parameter.banks)

    def split(self, parameter: PlacedParameter, tensor: Tensor) -> list[Tensor]:
        """A tensor of the master's shape as the tensors that AdamW takes."""
        if not self.is_split(parameter):
            return [tensor]
        flat = tensor.reshape(-1)
        return [flat[elements.start : elements.stop] for _, elements in parameter.locate_experts()]

    def step(self, step: int, idle: Iterable[Expert] = ()) -> None:
        """Updates masters and what this rank updates of the parameters, in place; drops the gradients.

        The `idle` experts, of this rank and of others, are left as they are.
        """
        for group in self.adamw.param_groups:
            group["lr"] = self.settings.learning_rate(step)
        for parameter in self.parameters:
            gradients = self.split(parameter, parameter.gradient)
            for master, gradient in zip(self.masters[parameter.name], gradients, strict=True):
                master.grad = gradient.to(master.grad_dtype)
            parameter.drop_gradient()
        for expert in idle:
            for master in self.experts.get(expert, ()):
                master.grad = None
        self.adamw.step()
        self.adamw.zero_grad()
        round_masters(self.parameters)
