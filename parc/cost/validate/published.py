"""The rows of `data/published.json` that parc can express, as jobs: 16 bits, and enough said about the run.

They fit no constant, but for the four dense runs of Megatron-Core's own table: these stand for H100. What a
publisher leaves out is assumed, the same for all: one sequence a microbatch, no interleaving, no
recomputation but in 2021.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from parc.cost.job.architecture import Architecture
from parc.cost.job.job import Job
from parc.cost.job.machine import Machine
from parc.cost.job.parallelism import Layout, Shard
from parc.cost.job.software import Practice
from parc.cost.memory import parameters
from parc.cost.timing.constants import DATA
from parc.cost.validate import machines
from parc.cost.validate.measured import MEGATRON_2021, even
from parc.cost.validate.models import DECODERS, GPTS, gpt
from parc.cost.validate.rows import Row, megatron

LEGACY, H100, BLACKWELL = "A100, Megatron 2021-23", "H100, Megatron-Core", "B200, Megatron 0.14"

MACHINES: dict[str, tuple[Machine, int, str]] = {
    "DGX-A100-80GB": (machines.A100_SELENE, 8, LEGACY),
    "DGX-H100": (machines.H100, 8, H100),
    "H100-96GB HBM2e": (machines.H100_TITAN, 8, H100),
    "H100": (machines.H100, 8, H100),
    "DGX-B200": (machines.B200, 8, BLACKWELL),
    "DGX-B300": (machines.B300, 8, BLACKWELL),
    "DGX-GB200": (machines.GB200, 64, BLACKWELL),
    "DGX-GB300": (machines.GB300, 64, BLACKWELL),
}

SOURCES = {
    "Megatron-LM SC21 Table 1": "Megatron-LM 2021, table 1",
    "Megatron-LM SC21 Table 2": "Megatron-LM 2021, table 2",
    "NVIDIA/Megatron-LM@841f789f48 README.md": "Megatron-LM 2021, README",
    "NVIDIA/Megatron-LM@d98e8a64 images": "Megatron-Core r0.8",
    "arXiv 2504.14960": "MoE Parallel Folding",
    "github NVIDIA-NeMo/Megatron-Bridge": "Megatron-Bridge",
    "pytorch/torchtitan": "torchtitan",
}


def rows() -> Iterator[Row]:
    for entry in json.loads((DATA / "published.json").read_text())["rows"]:
        row = _row(entry)
        if row:
            yield row


def _row(entry: dict[str, Any]) -> Row | None:
    known = entry["model"] in DECODERS or entry["model"] in GPTS or "model_config" in entry
    said = "seq" in entry and entry["precision"] in ("BF16", "FP16 mixed") and "dp" in entry
    if _sharded(entry) and "mbs" not in entry:  # how often parameters are gathered decides, and is not said
        return None
    speed = {"tflops_per_gpu", "tokens_per_s_per_gpu", "step_time_s"} & entry.keys()
    if not (known and said and speed):
        return None
    source = next(name for prefix, name in SOURCES.items() if entry["source"].startswith(prefix))
    machine, node, kind = next(
        value for prefix, value in MACHINES.items() if entry["hardware"].startswith(prefix)
    )
    legacy = kind == LEGACY
    architecture = _architecture(entry)
    job = Job(architecture, _layout(entry, architecture, node, legacy), machine, _practice(entry, legacy))
    batch = f"n{entry['gpus']} s{entry['seq']} B{entry['gbs']}"
    return Row(
        source=f"{source}, {entry['hardware'].removeprefix('DGX-')}" if "Bridge" in source else source,
        group=f"{source} {entry['model']} {entry['hardware']} {batch}",
        kind=kind,
        fitted=source == "Megatron-Core r0.8",
        job=job,
        seconds=_seconds(entry, job, legacy),
    )


def _architecture(entry: dict[str, Any]) -> Architecture:
    name, length = entry["model"], entry["seq"]
    if name in DECODERS:
        return DECODERS[name](length=length)
    if name in GPTS:
        return GPTS[name](length=length)
    of = entry["model_config"]
    return gpt(of["num_layers"], of["hidden"], of["heads"], length, of.get("ffn", 0), of["vocab"])


def _practice(entry: dict[str, Any], legacy: bool) -> Practice:
    """ZeRO-3 of 2021 computes layers again, and gathers their parameters for that as well: arXiv:2104.07857,
    section 4."""
    if legacy:
        return replace(MEGATRON_2021, gathers=3) if _sharded(entry) else MEGATRON_2021
    if "torchtitan" in entry["framework"]:
        return Practice(gradient=4, overlap=True)
    return Practice(gradient=4, regather=True, overlap=True, overlap_tensor=True)


def _layout(entry: dict[str, Any], of: Architecture, node: int, legacy: bool) -> Layout:
    tensor, context, pipeline = entry["tp"], entry["cp"], entry["pp"]
    experts = entry.get("ep") or 1
    expert_tensor = entry.get("etp") or (
        1 if "Folding" in entry["framework"] else tensor
    )  # Megatron's default
    data, chunks = entry["dp"], entry.get("vpp") or 1
    sequences = entry.get("mbs") or 1
    return Layout(
        reach=megatron(tensor, context, data, pipeline, experts, expert_tensor, node),
        layers=even(of.layers, pipeline * chunks),
        chunks=chunks,
        schedule="interleaved" if chunks > 1 and pipeline > 1 else "1f1b",
        microbatches=max(1, entry["gbs"] // (data * sequences)),
        sequences=sequences,
        sequence=tensor > 1 and not legacy,
        recompute="layer" if legacy else "none",
        shard=_shard(entry, legacy),
    )


def _sharded(entry: dict[str, Any]) -> bool:
    return bool(entry.get("fsdp")) or "FSDP" in entry["framework"]


def _shard(entry: dict[str, Any], legacy: bool) -> Shard:
    if _sharded(entry):
        return "parameters"
    return "none" if legacy else "optimizer"


def _seconds(entry: dict[str, Any], job: Job, legacy: bool) -> float:
    """Of one step, from what is given: the step, tokens, or FLOPs by the publisher's own formula."""
    if "step_time_s" in entry:
        return float(entry["step_time_s"])
    if "tokens_per_s_per_gpu" in entry:
        return parameters.tokens(job) / (float(entry["tokens_per_s_per_gpu"]) * int(entry["gpus"]))
    flops = _flops_2021(job) if legacy else parameters.flops(job)
    return flops / (float(entry["tflops_per_gpu"]) * 1e12 * int(entry["gpus"]))


def _flops_2021(job: Job) -> float:
    """With one recomputation: arXiv:2104.04473, appendix."""
    of = job.architecture
    rest = 1 + of.length / (6 * of.hidden) + of.vocab / (16 * of.layers * of.hidden)
    return 96 * parameters.tokens(job) * of.layers * of.hidden**2 * rest
