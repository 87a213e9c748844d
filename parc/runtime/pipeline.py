"""The pipeline stages of a rank, on `torch.distributed.pipelining`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import nn
from torch.distributed.pipelining import (
    PipelineStage,
    Schedule1F1B,
    ScheduleDualPipeV,
    ScheduleGPipe,
    ScheduleInterleaved1F1B,
    ScheduleInterleavedZeroBubble,
    ScheduleLoopedBFS,
    ScheduleZBVZeroBubble,
)

from .objective import pack_losses
from .stages import StageSpec
from .topology import Topology

ScheduleName: TypeAlias = Literal["gpipe", "1f1b", "interleaved", "zero_bubble", "zbv", "dualpipev"]
SCHEDULES: Mapping[str, Any] = {"gpipe": ScheduleGPipe, "1f1b": Schedule1F1B}
"""Of one stage a rank."""
LOOPED: Mapping[str, Any] = {
    "gpipe": ScheduleLoopedBFS,
    "1f1b": ScheduleInterleaved1F1B,
    "interleaved": ScheduleInterleaved1F1B,
    "zero_bubble": ScheduleInterleavedZeroBubble,
    "zbv": ScheduleZBVZeroBubble,
    "dualpipev": ScheduleDualPipeV,
}
"""Of several stages a rank, or of one with a backward pass that is split."""
SPLIT = ("zero_bubble", "zbv", "dualpipev")
"""Those that compute the gradients of parameters later than those of inputs."""


class Pipeline:
    """Runs the microbatches of a step through this rank's stages.

    `stages` are the modules of this rank, `specs` what is known of all stages, in the order of the model.
    `tokens` is like those of one microbatch, on the meta device. The shapes between stages are given, because
    torch would run the stages, collectives included, to infer them. The last stage returns its loss, or its
    loss and balance loss. Each schedule has its own least number of microbatches: 1f1b one for each stage.
    """

    def __init__(
        self,
        stages: Sequence[nn.Module],
        specs: Sequence[StageSpec],
        topology: Topology,
        *,
        tokens: torch.Tensor,
        microbatches: int,
        schedule: ScheduleName,
        device: torch.device,
    ) -> None:
        self.topology = topology
        self.microbatches = microbatches
        self.objective: Callable[[torch.Tensor], torch.Tensor] = torch.sum
        self.split = schedule in SPLIT
        self.parameters = [parameter for stage in stages for parameter in stage.parameters()]
        self.keywords = {name for number in topology.stages for name in specs[number].keywords}
        packed = torch.empty(2, device="meta")
        # what enters each stage, and what leaves the last one
        between = [(tokens,), *(spec.outputs for spec in specs[:-1]), (packed,)]
        parts = [
            PipelineStage(
                Boundary(stage, specs[number].keywords, last=number == topology.stage_count - 1),
                number,
                topology.stage_count,
                device,
                input_args=_mark_receivable(between[number]),
                output_args=_mark_receivable(between[number + 1]),
                group=topology.pipeline,
            )
            for stage, number in zip(stages, topology.stages, strict=True)
        ]
        single = len(parts) == 1 and schedule in SCHEDULES
        self.schedule = (SCHEDULES if single else LOOPED)[schedule](
            parts[0] if single else parts,
            n_microbatches=microbatches,
            loss_fn=lambda packed, _target: self.objective(packed),
            scale_grads=False,  # `objective` divides by what the loss is a mean over
        )

    def step(
        self, batch: Mapping[str, torch.Tensor], objective: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor | None:
        """Forward and backward of all microbatches; on the last stage their scalars, (microbatches, 2).

        `batch` has the tokens, and what stages take by name: each (microbatches, sequences, ..);
        `objective` makes a microbatch's (2,) scalars the term that is differentiated.
        """
        self.objective = objective
        if self.split:  # torch would keep a gradient as it comes: in another layout, or in memory of others
            for parameter in self.parameters:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter, dtype=parameter.grad_dtype)
        tokens = batch["tokens"].flatten(0, 1)
        arguments = (tokens,) if self.topology.stages[0] == 0 else ()
        named: dict[str, Any] = {name: batch[name].flatten(0, 1) for name in sorted(self.keywords)}
        # the schedule requires a target; the stage gets what its loss needs by the keywords
        merged: Any = self.schedule.step(*arguments, target=tokens, **named)
        return merged.view(self.microbatches, 2) if self.topology.last else None


class Boundary(nn.Module):
    """A stage as the schedule takes it: outputs that are contiguous, and on the last stage one packed tensor.

    The schedule gives each stage of a rank what any of them takes by name.
    """

    def __init__(self, stage: nn.Module, keywords: Sequence[str], *, last: bool) -> None:
        super().__init__()
        self.stage = stage
        self.keywords = keywords
        self.last = last

    def forward(
        self, *received: torch.Tensor, **named: torch.Tensor
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        returned = self.stage(*received, **{name: named[name] for name in self.keywords})
        if self.last:
            return pack_losses(returned)
        sent = returned if isinstance(returned, tuple) else (returned,)
        return tuple(map(_own, sent))


def _own(tensor: torch.Tensor) -> torch.Tensor:
    """Contiguous and no view: a split backward pass detaches what was sent, in place."""
    whole = tensor.contiguous()
    return whole.clone() if whole._is_view() else whole  # noqa: SLF001 - there is no public name for it


def _mark_receivable(examples: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Marks those whose gradients are sent back: the floating-point ones."""
    return tuple(tensor.detach().requires_grad_(tensor.is_floating_point()) for tensor in examples)
