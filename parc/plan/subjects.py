"""The subjects of claims in `expect`: their names and dimensions.

`parc/check/claims/` computes their values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from parc.named_tuple import NamedTuple
from parc.syntax.units import NUMBER, RATE, SIZE, TIME, WORK, Dimension, describe_dimension

STRATEGIES = ("data", "tensor", "experts", "pipeline")
KINDS = {
    "peak": "all data at the peak",
    "parameters": "parameters",
    "gradients": "gradients",
    "optimizer": "optimizer states",
    "activations": "activations",
    "logits": "logits",
    "working": "gradients and recomputed activations of the backward pass that runs, and gathered parameters",
}


class Subject(NamedTuple):
    """`dimensions` are those of the values that it can be compared with, the usual one first."""

    dimensions: tuple[Dimension, ...]
    description: str

    @property
    def dimension(self) -> Dimension:
        """The usual dimension of the value."""
        return self.dimensions[0]

    def describe_dimensions(self) -> str:
        """What it can be compared with, in words."""
        return ", or ".join(map(describe_dimension, self.dimensions))


SUBJECTS: dict[str, Subject] = {
    "devices": Subject((NUMBER,), "ranks of the mesh"),
    "parameters": Subject((NUMBER,), "parameters of the whole model"),
    "parameters.active": Subject((NUMBER,), "parameters that take part in the matrix products of one token"),
    "parameters.experts": Subject((NUMBER,), "parameters of all routed experts"),
    "parameters.device": Subject((NUMBER,), "parameters on the device that holds most"),
    "parameters.device.experts": Subject((NUMBER,), "parameters of routed experts on that device"),
    "parameters.stage_K": Subject((NUMBER,), "parameters on one device of pipeline rank K"),
    "experts.local": Subject((NUMBER,), "experts of one layer on one device, whole or split"),
    "experts.active": Subject((NUMBER,), "share of the experts of a layer that process one token"),
    "flops": Subject((WORK,), "FLOPs of one step on all devices, without recomputation"),
    "flops.device": Subject((WORK,), "FLOPs of one step on one device"),
    "bubble": Subject(
        (NUMBER,), "share of the time of the pipeline in which a device waits, with equal stages"
    ),
    "step_time": Subject((TIME,), "duration of one step"),
    "mfu": Subject((NUMBER,), "model FLOPs utilization: FLOPs of the step / peak of the devices"),
    "tokens_per_second": Subject((NUMBER, RATE), "tokens per second on all devices"),
    "sequences_per_second": Subject((NUMBER, RATE), "sequences per second on all devices"),
    **{
        f"memory.{kind}": Subject((SIZE, NUMBER), f"bytes of {words} on the device with the most")
        for kind, words in KINDS.items()
    },
    **{
        f"memory.stage_K.{kind}": Subject((SIZE, NUMBER), f"bytes of {words} on a device of pipeline rank K")
        for kind, words in KINDS.items()
    },
}
GROUPS: dict[str, Subject] = {
    "ranks": Subject((NUMBER,), "ranks in one group"),
    "groups": Subject((NUMBER,), "number of groups"),
    "stride": Subject((NUMBER,), "difference in rank between two neighbours in a group"),
    "LEVELs": Subject(
        (NUMBER,), "units of the level LEVEL of the cluster, such as `nodes`, that one group touches"
    ),
    "buffers": Subject(
        (SIZE,), "bytes that one device passes to collectives and sends of the groups in a step"
    ),
    "sent": Subject((SIZE,), "bytes that leave one device in a step, with what collectives forward"),
    "time": Subject((TIME,), "duration of all of this communication, without overlap"),
    "call.buffer": Subject((SIZE,), "bytes of the largest call"),
    "call.time": Subject((TIME,), "duration of the longest call"),
}
"""Subjects of the groups over the axes of a strategy: `experts.nodes`."""

STAGE = re.compile(r"\bstage_(0|[1-9][0-9]{0,8})\b")


def find_subject(name: str, levels: Iterable[str]) -> Subject | None:
    """The subject `name` on a cluster of these levels; None if there is none."""
    if found := SUBJECTS.get(STAGE.sub("stage_K", name)):
        return None if "stage_K" in name else found
    strategy, _, key = name.partition(".")
    if strategy not in STRATEGIES:
        return None
    if key in {f"{level}s" for level in levels}:
        return GROUPS["LEVELs"]
    return None if key == "LEVELs" else GROUPS.get(key)


def parse_stage(name: str) -> int | None:
    """The pipeline rank in `name`, if it has one."""
    found = STAGE.search(name)
    return int(found[1]) if found else None


def list_subjects(levels: Iterable[str]) -> list[str]:
    """All names, with pipeline rank 0 as the example of the numbered ones."""
    keys = [key for key in GROUPS if key != "LEVELs"] + [f"{level}s" for level in levels]
    groups = [f"{strategy}.{key}" for strategy in STRATEGIES for key in keys]
    return [name.replace("stage_K", "stage_0") for name in SUBJECTS] + groups
