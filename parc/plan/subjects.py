"""What a claim of `expect` may be about: names, and what kind of quantity each is.

What derives them is in `parc/check/claims/`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from parc.syntax.units import NUMBER, SIZE, TIME, WORK, Dimension

STRATEGIES = ("data", "tensor", "experts", "pipeline")
KINDS = ("peak", "parameters", "gradients", "optimizer", "activations", "logits")


class Subject(NamedTuple):
    dimension: Dimension
    says: str


SUBJECTS: dict[str, Subject] = {
    "devices": Subject(NUMBER, "ranks of the mesh"),
    "parameters": Subject(NUMBER, "of the whole model"),
    "parameters.active": Subject(NUMBER, "those that one token meets in matmuls"),
    "parameters.experts": Subject(NUMBER, "of all routed experts"),
    "parameters.device": Subject(NUMBER, "of the device that holds most"),
    "parameters.device.experts": Subject(NUMBER, "of them those of routed experts"),
    "parameters.stage_K": Subject(NUMBER, "of one device of pipeline rank K"),
    "experts.local": Subject(NUMBER, "experts of one layer on one device, whole or split"),
    "experts.active": Subject(NUMBER, "share of a layer's experts that one token meets"),
    "flops": Subject(WORK, "of one step, all devices together; recomputation is not counted"),
    "flops.device": Subject(WORK, "of one step, on one device"),
    "bubble": Subject(NUMBER, "share of the pipeline's time in which a device waits, all stages being equal"),
    "step_time": Subject(TIME, "of one step"),
    "mfu": Subject(NUMBER, "share of the devices' peak that the step's FLOPs are"),
    "tokens_per_second": Subject(NUMBER, "all devices together"),
    "sequences_per_second": Subject(NUMBER, "all devices together"),
    **{f"memory.{kind}": Subject(SIZE, "of the device that has most of it") for kind in KINDS},
    **{f"memory.stage_K.{kind}": Subject(SIZE, "of a device of pipeline rank K") for kind in KINDS},
}
GROUPS: dict[str, Subject] = {
    "ranks": Subject(NUMBER, "ranks of one group"),
    "groups": Subject(NUMBER, "how many groups there are"),
    "stride": Subject(NUMBER, "how far apart two neighbours of a group are in rank"),
    "LEVELs": Subject(NUMBER, "units of the cluster's level LEVEL, such as `nodes`, that one group touches"),
    "buffers": Subject(SIZE, "what one device gives to the groups' collectives and sends in a step"),
    "sent": Subject(SIZE, "of it what leaves the device, or more where a collective passes it on"),
    "time": Subject(TIME, "of all of it, as if nothing else ran meanwhile"),
    "call.buffer": Subject(SIZE, "of the largest call"),
    "call.time": Subject(TIME, "of the longest call"),
}
"""Of the groups over a strategy's axes: `experts.nodes`."""

STAGE = re.compile(r"\bstage_(0|[1-9][0-9]{0,8})\b")


def subject(name: str, levels: Iterable[str]) -> Subject | None:
    """What `name` means on a cluster of these levels."""
    if found := SUBJECTS.get(STAGE.sub("stage_K", name)):
        return None if "stage_K" in name else found
    strategy, _, key = name.partition(".")
    if strategy not in STRATEGIES:
        return None
    if key in {f"{level}s" for level in levels}:
        return GROUPS["LEVELs"]
    return None if key == "LEVELs" else GROUPS.get(key)


def stage(name: str) -> int | None:
    """The pipeline rank that `name` is about."""
    found = STAGE.search(name)
    return int(found[1]) if found else None


def names(levels: Iterable[str]) -> list[str]:
    """All of them, of the numbered ones the first."""
    keys = [key for key in GROUPS if key != "LEVELs"] + [f"{level}s" for level in levels]
    groups = [f"{strategy}.{key}" for strategy in STRATEGIES for key in keys]
    return [name.replace("stage_K", "stage_0") for name in SUBJECTS] + groups
