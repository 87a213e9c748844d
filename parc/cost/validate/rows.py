"""A row of measured data as a job that can be predicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from parc.cost.job.job import Job
from parc.cost.job.parallelism import FanOut, RankGroups
from parc.cost.timing.constants import Constants
from parc.cost.timing.pass_times import predict_expert_layer
from parc.cost.timing.step import predict_step

Measurement = Literal["step", "forward", "backward"]


@dataclass(frozen=True, slots=True)
class Row:
    """A measured run.

    Runs of one `group` have the same model, batch and machine: a search would choose among them.
    """

    source: str
    group: str
    kind: str  # the calibration that predicts it
    fitted: bool  # whether the constants are fitted to it
    job: Job
    seconds: float  # measured
    peak: float | None = None  # bytes of the fullest device, measured
    measurement: Measurement = "step"

    def predict(self, constants: Constants) -> float:
        """Seconds of the same measurement."""
        if self.measurement == "step":
            return predict_step(self.job, constants).seconds
        forward, backward = predict_expert_layer(self.job, constants)
        return forward if self.measurement == "forward" else backward


def derive_fan_out(size: int, stride: int, node: int) -> FanOut:
    """The fan-out of a group of `size` ranks, `stride` apart, within a node of `node` ranks and beyond."""
    within = min(size, max(1, -(-node // stride)))
    return within, size / within


def derive_megatron_groups(
    tensor: int, context: int, data: int, pipeline: int, experts: int, expert_tensor: int, node: int
) -> RankGroups:
    """The groups of one rank in Megatron's order of ranks: tensor fastest, then context, data, pipeline.

    Experts lie over the first three together, `expert_tensor` fastest. A node has `node` ranks.
    """
    inner = tensor * context
    stage = inner * data
    own = expert_tensor * experts
    return RankGroups(
        tensor=derive_fan_out(tensor, 1, node),
        context=derive_fan_out(context, tensor, node),
        data=derive_fan_out(context * data, tensor, node),
        pipeline=derive_fan_out(pipeline, stage, node),
        experts=derive_fan_out(experts, expert_tensor, node),
        expert_tensor=derive_fan_out(expert_tensor, 1, node),
        expert_data=derive_fan_out(max(1, stage // own), own, node),
    )
