"""One pipeline stage a rank, on `torch.distributed.pipelining`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe

from .objective import pack_losses
from .topology import Topology

SCHEDULES = {"gpipe": ScheduleGPipe, "1f1b": Schedule1F1B}


class Pipeline:
    """Runs the microbatches of a step through this rank's stage.

    `inputs` and `outputs` are like what the stage receives from the stage before and sends to the one after,
    for one microbatch; they may be on the meta device. Gradients of the floating-point ones are sent back.
    They are given, because torch would run the stages, collectives included, to infer them. The first stage
    takes the tokens, (sequences, length); the last returns its loss, or its loss and balance loss. The
    schedule 1f1b needs at least as many microbatches as stages.
    """

    def __init__(
        self,
        stage: nn.Module,
        topology: Topology,
        *,
        inputs: tuple[torch.Tensor, ...],
        outputs: tuple[torch.Tensor, ...],
        microbatches: int,
        schedule: Literal["gpipe", "1f1b"],
        device: torch.device,
    ) -> None:
        self.topology = topology
        self.microbatches = microbatches
        self.objective: Callable[[torch.Tensor], torch.Tensor] = torch.sum
        packed = (torch.empty(2, device="meta", requires_grad=True),)
        self.schedule = SCHEDULES[schedule](
            PipelineStage(
                Boundary(stage, topology.last),
                topology.stage,
                topology.stages,
                device,
                input_args=_mark_receivable(inputs),
                output_args=packed if topology.last else _mark_receivable(outputs),
                group=topology.pipeline,
            ),
            n_microbatches=microbatches,
            loss_fn=lambda packed, _target: self.objective(packed),
            scale_grads=False,  # `objective` divides by what the loss is a mean over
        )

    def step(
        self,
        tokens: torch.Tensor,
        keywords: Mapping[str, torch.Tensor],
        objective: Callable[[torch.Tensor], torch.Tensor],
    ) -> torch.Tensor | None:
        """Forward and backward of all microbatches; on the last stage their scalars, (microbatches, 2).

        `tokens` and each of `keywords`, which go to this rank's stage by name, are (microbatches,
        sequences, ..); `objective` makes a microbatch's (2,) scalars the term that is differentiated.
        """
        self.objective = objective
        arguments = (tokens.flatten(0, 1),) if self.topology.stage == 0 else ()
        named: dict[str, Any] = {name: value.flatten(0, 1) for name, value in keywords.items()}
        # the schedule requires a target; the stage gets what its loss needs by the keywords
        merged: Any = self.schedule.step(*arguments, target=tokens.flatten(0, 1), **named)
        return merged.view(self.microbatches, 2) if self.topology.last else None


class Boundary(nn.Module):
    """A stage as the schedule takes it: contiguous outputs, and on the last stage one packed tensor."""

    def __init__(self, stage: nn.Module, last: bool) -> None:
        super().__init__()
        self.stage = stage
        self.last = last

    def forward(
        self, *received: torch.Tensor, **keywords: torch.Tensor
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        returned = self.stage(*received, **keywords)
        if self.last:
            return pack_losses(returned)
        sent = returned if isinstance(returned, tuple) else (returned,)
        return tuple(tensor.contiguous() for tensor in sent)


def _mark_receivable(examples: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Marks those whose gradients are sent back: the floating-point ones."""
    return tuple(tensor.detach().requires_grad_(tensor.is_floating_point()) for tensor in examples)
