"""Reads `data/published.json`: those runs as jobs that are in 16 bits and described well enough.

Only the constants of H100 are fitted to some of them: the four dense runs of Megatron-Core's own table. What
a publisher leaves out is assumed, the same for all: one sequence in a microbatch, no interleaving, no
recomputation except in 2021.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from parc.cost.job.architecture import Architecture
from parc.cost.job.hardware import Hardware
from parc.cost.job.job import Job
from parc.cost.job.parallelism import Parallelism, Shard
from parc.cost.job.software import Software
from parc.cost.memory import parameters
from parc.cost.timing.constants import DATA
from parc.cost.validate import machines
from parc.cost.validate.measured import MEGATRON_2021
from parc.cost.validate.models import DECODERS, GPTS, build_gpt
from parc.cost.validate.rows import Row, derive_megatron_groups
from parc.plan.placement import spread_layers

LEGACY, H100, BLACKWELL = "A100, Megatron 2021-23", "H100, Megatron-Core", "B200, Megatron 0.14"

MACHINES: dict[str, tuple[Hardware, int, str]] = {
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


def load_rows() -> Iterator[Row]:
    """The runs that can be predicted."""
    for entry in json.loads((DATA / "published.json").read_text())["rows"]:
        row = _read_row(entry)
        if row:
            yield row


def _read_row(entry: dict[str, Any]) -> Row | None:
    known = entry["model"] in DECODERS or entry["model"] in GPTS or "model_config" in entry
    described = "seq" in entry and entry["precision"] in ("BF16", "FP16 mixed") and "dp" in entry
    if _shards_parameters(entry) and "mbs" not in entry:  # decides how often parameters are gathered
        return None
    speed = {"tflops_per_gpu", "tokens_per_s_per_gpu", "step_time_s"} & entry.keys()
    if not (known and described and speed):
        return None
    source = next(name for prefix, name in SOURCES.items() if entry["source"].startswith(prefix))
    machine, node, kind = next(
        value for prefix, value in MACHINES.items() if entry["hardware"].startswith(prefix)
    )
    legacy = kind == LEGACY
    architecture = _read_architecture(entry)
    job = Job(
        architecture,
        _read_parallelism(entry, architecture, node, legacy),
        machine,
        _read_software(entry, legacy),
    )
    batch = f"n{entry['gpus']} s{entry['seq']} B{entry['gbs']}"
    return Row(
        source=f"{source}, {entry['hardware'].removeprefix('DGX-')}" if "Bridge" in source else source,
        group=f"{source} {entry['model']} {entry['hardware']} {batch}",
        kind=kind,
        fitted=source == "Megatron-Core r0.8",
        job=job,
        seconds=_read_seconds(entry, job, legacy),
    )


def _read_architecture(entry: dict[str, Any]) -> Architecture:
    name, length = entry["model"], entry["seq"]
    if name in DECODERS:
        return DECODERS[name](length=length)
    if name in GPTS:
        return GPTS[name](length=length)
    model = entry["model_config"]
    return build_gpt(
        model["num_layers"], model["hidden"], model["heads"], length, model.get("ffn", 0), model["vocab"]
    )


def _read_software(entry: dict[str, Any], legacy: bool) -> Software:
    """ZeRO-3 of 2021 recomputes layers and gathers their parameters again: arXiv:2104.07857, section 4."""
    if legacy:
        return replace(MEGATRON_2021, parameter_gathers=3) if _shards_parameters(entry) else MEGATRON_2021
    if "torchtitan" in entry["framework"]:
        return Software(gradient_bytes=4, overlap_gradients=True)
    return Software(gradient_bytes=4, regather_inputs=True, overlap_gradients=True, overlap_tensor=True)


def _read_parallelism(entry: dict[str, Any], model: Architecture, node: int, legacy: bool) -> Parallelism:
    tensor, context, pipeline = entry["tp"], entry["cp"], entry["pp"]
    experts = entry.get("ep") or 1
    expert_tensor = entry.get("etp") or (
        1 if "Folding" in entry["framework"] else tensor
    )  # Megatron's default
    data, chunks = entry["dp"], entry.get("vpp") or 1
    sequences = entry.get("mbs") or 1
    return Parallelism(
        groups=derive_megatron_groups(tensor, context, data, pipeline, experts, expert_tensor, node),
        layers=spread_layers(model.layers, pipeline * chunks),
        chunks=chunks,
        schedule="interleaved" if chunks > 1 and pipeline > 1 else "1f1b",
        microbatches=max(1, entry["gbs"] // (data * sequences)),
        sequences=sequences,
        sequence_parallel=tensor > 1 and not legacy,
        recompute="layer" if legacy else "none",
        shard=_read_shard(entry, legacy),
    )


def _shards_parameters(entry: dict[str, Any]) -> bool:
    return bool(entry.get("fsdp")) or "FSDP" in entry["framework"]


def _read_shard(entry: dict[str, Any], legacy: bool) -> Shard:
    if _shards_parameters(entry):
        return "parameters"
    return "none" if legacy else "optimizer"


def _read_seconds(entry: dict[str, Any], job: Job, legacy: bool) -> float:
    """Seconds of one step: as published, from tokens a second, or from FLOP/s by the publisher's formula."""
    if "step_time_s" in entry:
        return float(entry["step_time_s"])
    if "tokens_per_s_per_gpu" in entry:
        return parameters.count_tokens(job) / (float(entry["tokens_per_s_per_gpu"]) * int(entry["gpus"]))
    flops = _count_flops_2021(job) if legacy else parameters.count_flops(job)
    return flops / (float(entry["tflops_per_gpu"]) * 1e12 * int(entry["gpus"]))


def _count_flops_2021(job: Job) -> float:
    """FLOPs of one step with one recomputation: arXiv:2104.04473, appendix."""
    model = job.architecture
    rest = 1 + model.length / (6 * model.hidden) + model.vocab / (16 * model.layers * model.hidden)
    return 96 * parameters.count_tokens(job) * model.layers * model.hidden**2 * rest
