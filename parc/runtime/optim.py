"""AdamW over the parameters of this rank, and the learning rate of each step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from .placement import PlacedParameter, round_masters


@dataclass(frozen=True, kw_only=True)
class AdamWSettings:
    """`clip` is the largest global gradient norm; `warmup` and `steps` are numbers of optimizer steps."""

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
        self.adamw = torch.optim.AdamW(
            [parameter.master for parameter in parameters],
            lr=settings.lr,
            betas=(settings.beta1, settings.beta2),
            eps=settings.eps,
            weight_decay=settings.weight_decay,
            fused=True,
        )

    def step(self, step: int) -> None:
        """Updates masters and what this rank updates of the parameters, in place; drops the gradients."""
        for group in self.adamw.param_groups:
            group["lr"] = self.settings.learning_rate(step)
        for parameter in self.parameters:
            parameter.master.grad = parameter.gradient.to(parameter.master.dtype)
            parameter.tensor.grad = None
        self.adamw.step()
        self.adamw.zero_grad()
        round_masters(self.parameters)
