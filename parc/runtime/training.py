"""One training step: microbatches forward and backward, gradients completed and clipped, the optimizer."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .batches import Batches
from .experts import TOKEN_COUNTS
from .gradients import Gradients
from .objective import Objective, pack_losses
from .optim import AdamWSettings, ScheduledAdamW
from .pipeline import Pipeline
from .placement import PlacedParameter
from .topology import Topology


class Trainer:
    """Trains `stage`, which is the whole model where there is no `pipeline`.

    `keywords` names what forward takes of a microbatch besides what comes first (tokens, or the stage
    before's output): "tokens", "labels". `load_axes` are the axes over which the counts of the experts
    modules are terms of a sum; None where there are no experts. `flops` is the arithmetic of one step on
    one device, `peak_flops` what the device could do in a second.
    """

    def __init__(
        self,
        stage: nn.Module,
        parameters: Sequence[PlacedParameter],
        topology: Topology,
        batches: Batches,
        objective: Objective,
        optimizer: AdamWSettings,
        *,
        pipeline: Pipeline | None = None,
        keywords: Sequence[str] = ("labels",),
        load_axes: tuple[str, ...] | None = None,
        flops: float | None = None,
        peak_flops: float | None = None,
    ) -> None:
        self.stage = stage
        self.parameters = parameters
        self.topology = topology
        self.batches = batches
        self.objective = objective
        self.settings = optimizer
        self.pipeline = pipeline
        self.keywords = keywords
        self.load_axes = load_axes
        self.flops, self.peak_flops = flops, peak_flops
        self.gradients = Gradients(parameters, topology.mesh, topology.pipeline)
        self.optimizer = ScheduledAdamW(parameters, optimizer)
        self.token_counts = [
            counts for name, counts in stage.named_buffers() if name.split(".")[-1] == TOKEN_COUNTS
        ]
        self.device = torch.device(topology.mesh.device_type)

    def step(self, step: int) -> dict[str, float]:
        """Trains on the batch of `step`; its figures, the same on every rank but for the clock's."""
        start = time.perf_counter()
        losses = self.compute_gradients(step)
        norm = self.update(step)
        found = [*losses, norm.double()]
        if self.load_axes is not None:
            found.append(self.compute_expert_load(self.load_axes).double())
        loss, balance, norm_value, *load = torch.stack(found).tolist()  # where the host waits for the device
        figures = {
            "step": step,
            "loss": loss,
            "grad_norm": norm_value,
            "lr": self.settings.learning_rate(step),
        }
        if self.objective.balance is not None:
            figures["balance"] = balance
        if load:
            (figures["expert_load"],) = load
        seconds = time.perf_counter() - start
        batch = self.batches.settings
        figures["tokens_per_second"] = batch.sequences * batch.length / seconds
        if self.flops and self.peak_flops:
            figures["mfu"] = self.flops / seconds / self.peak_flops
        return figures

    def compute_gradients(self, step: int) -> Tensor:
        """Leaves the gradient of the whole batch in the parameters; returns loss and balance loss: (2,)."""
        ids = self.batches.load(step, self.topology.data_rank, self.topology.data_ranks)
        tokens, labels = (part.to(self.device) for part in ids)
        named = {"tokens": tokens, "labels": labels}
        keywords = {name: named[name] for name in self.keywords}
        microbatches = len(tokens)
        divisor = self.objective.compute_divisor(self.batches.select_predicted(labels), self.topology)

        def term(packed: Tensor) -> Tensor:
            return self.objective.compute_term(packed, divisor, microbatches)

        packed: Tensor | None
        if self.pipeline is not None:
            packed = self.pipeline.step(tokens, keywords, term)
        else:
            each = []
            for index in range(microbatches):
                given = {name: value[index] for name, value in keywords.items()}
                each.append(pack_losses(self.stage(tokens[index], **given)))
                term(each[-1]).backward()  # type: ignore[no-untyped-call]
            packed = torch.stack(each).detach()
        self.gradients.complete()
        return self.objective.compute_total(packed, divisor, microbatches, self.topology)

    def update(self, step: int) -> Tensor:
        """Clips the gradients and updates the parameters; the global norm before clipping, a scalar."""
        norm = self.gradients.compute_norm()
        if self.settings.clip is not None:
            self.gradients.clip(self.settings.clip, norm)
        self.optimizer.step(step)
        return norm

    def compute_expert_load(self, axes: tuple[str, ...]) -> Tensor:
        """Tokens of the busiest expert over the mean of its layer, in the worst layer; 1 is even. A scalar.

        Reads and clears the counts of tokens that the modules of experts keep.
        """
        worst = torch.zeros((), dtype=torch.float32, device=self.device)
        if self.token_counts:
            counts = torch.cat(self.token_counts).to(torch.float32)
            torch._foreach_zero_(self.token_counts)
            self.topology.sum(counts, axes)
            layers = torch.split(counts, [len(each) for each in self.token_counts])
            worst = torch.stack([layer.max() / layer.mean() for layer in layers]).max()
        if self.topology.pipeline is not None:
            dist.all_reduce(worst, dist.ReduceOp.MAX, group=self.topology.pipeline)
        return worst
