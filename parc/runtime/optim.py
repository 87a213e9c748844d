"""AdamW on the shards that this rank holds, and the learning rate of each step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch

from .gradients import local_gradient
from .parameters import Declared


@dataclass(frozen=True, kw_only=True)
class AdamWSettings:
    """`clip` limits the global gradient norm; `warmup` and `steps` count optimizer steps."""

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
        """A line up to `lr` at the end of the warm-up; then `lr`, or a cosine to `min_lr` at `steps`."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        if self.decay == "constant":
            return self.lr
        done = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        return self.min_lr + (self.lr - self.min_lr) * (1.0 + math.cos(math.pi * done)) / 2.0


class ShardedAdamW:
    """torch's AdamW over local shards. It is elementwise, so a shard's update is the shard of the update.

    The shards are views of the DTensor parameters: their dispatch would cost more than the arithmetic.
    """

    def __init__(self, parameters: Iterable[Declared], settings: AdamWSettings) -> None:
        self.settings = settings
        self.parameters = list(parameters)
        self.shards = [parameter.to_local().detach() for parameter in self.parameters]
        self.adamw = torch.optim.AdamW(
            self.shards,
            lr=settings.lr,
            betas=(settings.beta1, settings.beta2),
            eps=settings.eps,
            weight_decay=settings.weight_decay,
            fused=True,
        )

    def step(self, step: int) -> None:
        """Updates the parameters in place, a missing gradient being zero, and drops the gradients."""
        for shard, parameter in zip(self.shards, self.parameters, strict=True):
            shard.grad = local_gradient(parameter)
        for group in self.adamw.param_groups:
            group["lr"] = self.settings.learning_rate(step)
        self.adamw.step()
        for shard, parameter in zip(self.shards, self.parameters, strict=True):
            shard.grad = parameter.grad = None
