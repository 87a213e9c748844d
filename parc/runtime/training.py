"""One training step: microbatches forward and backward, gradients summed and clipped, the optimizer."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import nn

from .data import Batches
from .gradients import clip_gradients, global_norm, sync_gradients
from .layout import Layout
from .objective import Objective, scalars
from .optim import AdamWSettings, ShardedAdamW
from .parameters import declared
from .pipeline import Pipeline


class Trainer:
    """Trains `stage`, which is the whole model where there is no `pipeline`.

    `keywords` names what forward takes of a microbatch besides what comes first (tokens, or the stage
    before's output): "tokens", "labels". `load_axes` are the axes over which the experts modules' `load`
    counts are terms of a sum; None where there are no experts. `flops` is the arithmetic of one step on
    one device, `peak` what the device could do in a second.
    """

    def __init__(
        self,
        stage: nn.Module,
        layout: Layout,
        batches: Batches,
        objective: Objective,
        optimizer: AdamWSettings,
        *,
        pipeline: Pipeline | None = None,
        keywords: Sequence[str] = ("labels",),
        load_axes: tuple[str, ...] | None = None,
        flops: float | None = None,
        peak: float | None = None,
    ) -> None:
        self.stage = stage
        self.layout = layout
        self.batches = batches
        self.objective = objective
        self.pipeline = pipeline
        self.keywords = keywords
        self.load_axes = load_axes
        self.flops, self.peak = flops, peak
        self.parameters = [parameter for _, parameter in declared(stage)]
        self.settings = optimizer
        self.optimizer = ShardedAdamW(self.parameters, optimizer)
        self.device = torch.device(layout.mesh.device_type)

    def step(self, step: int) -> dict[str, float]:
        """Trains on the batch of `step`; its figures, the same on every rank but for the clock's."""
        start = time.perf_counter()
        loss, balance = self.gradients(step)
        norm = self.update(step)
        figures = {"step": step, "loss": loss, "grad_norm": norm, "lr": self.settings.learning_rate(step)}
        if self.objective.balance is not None:
            figures["balance"] = balance
        if self.load_axes is not None:
            figures["expert_load"] = self.expert_load(self.load_axes)
        seconds = time.perf_counter() - start
        figures["tokens_per_second"] = self.batches.sequences * self.batches.length / seconds
        if self.flops and self.peak:
            figures["mfu"] = self.flops / seconds / self.peak
        return figures

    def gradients(self, step: int) -> tuple[float, float]:
        """Leaves the gradient of the step's whole batch in the parameters; its loss and balance loss."""
        ids = self.batches.step(step, self.layout.data_rank, self.layout.data_ranks)
        tokens, labels = (part.to(self.device) for part in ids)
        named = {"tokens": tokens, "labels": labels}
        keywords = {name: named[name] for name in self.keywords}
        microbatches = len(tokens)
        divisor = self.objective.divisor(self.batches.predicted(labels), self.layout)

        def term(packed: torch.Tensor) -> torch.Tensor:
            return self.objective.term(packed, divisor, microbatches)

        packed: torch.Tensor | None
        if self.pipeline is not None:
            packed = self.pipeline.step(tokens, keywords, term)
        else:
            each = []
            for index in range(microbatches):
                given = {name: value[index] for name, value in keywords.items()}
                each.append(scalars(self.stage(tokens[index], **given)))
                term(each[-1]).backward()  # type: ignore[no-untyped-call]
            packed = torch.stack(each).detach()
        sync_gradients(self.parameters)
        return self.objective.report(packed, divisor, microbatches, self.layout)

    def update(self, step: int) -> float:
        """Clips the gradients and updates the parameters; the global norm before clipping."""
        norm = global_norm(self.parameters, self.layout.pipeline)
        if self.settings.clip is not None:
            clip_gradients(self.parameters, self.settings.clip, norm)
        self.optimizer.step(step)
        return norm.item()

    def expert_load(self, axes: tuple[str, ...]) -> float:
        """Tokens of the busiest expert over the mean of its layer, in the worst layer; 1 is even.

        Reads and clears `load`, the counts an experts module keeps of the tokens it has sent to each expert.
        """
        worst = torch.zeros((), device=self.device)
        for module in self.stage.modules():
            load = getattr(module, "load", None)
            if isinstance(load, torch.Tensor):
                counts = load.to(torch.float32)
                self.layout.sum(counts, axes)
                worst = torch.maximum(worst, counts.max() / counts.mean())
                load.zero_()
        if self.layout.pipeline is not None:
            dist.all_reduce(worst, dist.ReduceOp.MAX, group=self.layout.pipeline)
        return worst.item()
