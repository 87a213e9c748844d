"""Jobs for tests: a small model on two nodes of eight."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from parc.cost.job.architecture import Architecture
from parc.cost.job.hardware import Hardware, LinkSpeed
from parc.cost.job.job import Job
from parc.cost.job.parallelism import Parallelism, RankGroups
from parc.cost.job.software import Software
from parc.cost.timing.constants import Constants

CONSTANTS = Constants(
    matmul=0.8,
    ramp=128,
    attention=0.5,
    memory=0.8,
    launch=1e-4,
    inner=0.75,
    outer=0.75,
    collective=2e-5,
    step=1e-3,
)
HARDWARE = Hardware(
    peak_flops=1e15, memory=80e9, memory_bandwidth=3e12, links=(LinkSpeed(450e9, 3e-6), LinkSpeed(50e9, 8e-6))
)
MODEL = Architecture(
    layers=16,
    hidden=2048,
    heads=16,
    kv_heads=4,
    head_dim=128,
    ffn=1024,
    dense_ffn=8192,
    vocab=32000,
    length=2048,
    experts=32,
    top_k=4,
)
DENSE = replace(MODEL, experts=0, top_k=0, ffn=8192)


def build_job(model: Architecture = MODEL, hardware: Hardware | None = HARDWARE, **fields: Any) -> Job:
    """`fields` are those of Parallelism, RankGroups, Software and Job, by name."""
    groups, software, of_job = (
        {name: fields.pop(name) for name in names if name in fields}
        for names in (RankGroups._fields, Software.__dataclass_fields__, ("expert_imbalance",))
    )
    parallelism = {"layers": (model.layers,), "microbatches": 4, "sequences": 1, **fields}
    return Job(
        model,
        Parallelism(groups=RankGroups(**groups), **parallelism),
        hardware,
        Software(**software),
        **of_job,
    )
