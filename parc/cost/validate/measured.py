"""Reads `data/measured.json`: measured runs as jobs.

Constants are fitted to whole models and sources: of the A100 runs those on one node, with models of 0.2 to
1.2 billion parameters; of the B200 runs llama3-70b with 4,096 and 32,768 tokens. Held out are the 3.6B and
39.1B models on 64 and 512 devices, another A100 machine (Selene), DeepSeek-V2, 131,072 tokens, and single
layers of experts on H100. Two caveats. The form of the model, above all the exponent in
`timing/pass_times.py`, was chosen with the runs of the 3.6B model in view. The runs with 32,768 tokens were
held out at first; no other run shows how fast fused attention is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from parc.cost.job.architecture import Architecture
from parc.cost.job.hardware import Hardware
from parc.cost.job.job import Job
from parc.cost.job.parallelism import Parallelism, Recompute
from parc.cost.job.software import Software
from parc.cost.timing.constants import DATA
from parc.cost.validate import machines
from parc.cost.validate.models import DEEPSEEK_V2, LLAMA3_70B, build_gpt
from parc.cost.validate.rows import Measurement, Row, derive_megatron_groups
from parc.plan.placement import spread_layers

GIB = 2**30

DEEPSPEED = Software(
    gradient_bytes=2,
    reduce_bytes=2,
    flash_attention=False,
    dropout=True,
    fused_accumulation=False,
    scatter_sends=True,
)
MEGATRON_2021 = Software(
    gradient_bytes=4, flash_attention=False, dropout=True, fused_accumulation=False, scatter_sends=True
)
MEGATRON_2022 = Software(
    gradient_bytes=4, flash_attention=False, dropout=True, regather_inputs=True, scatter_sends=True
)
MEGATRON_014 = Software(gradient_bytes=4, regather_inputs=True)

RECOMPUTE: dict[str, Recompute] = {"full": "layer", "selective(attention)": "scores"}


def load_rows() -> Iterator[Row]:
    """The runs that can be predicted."""
    for entry in json.loads((DATA / "measured.json").read_text()):
        if entry["kind"] == "step_time":
            yield _read_gpt(entry)
        elif entry["kind"] == "step_time+memory":
            yield _read_simumax(entry)
        elif entry["kind"] == "moe_layer" and entry["case"].endswith("a2a_tp1ep8_bf16"):
            yield from _read_layer(entry)


def _read_gpt(entry: dict[str, Any]) -> Row:
    selene = "Selene" in entry["hardware"]
    architecture = build_gpt(entry["L"], entry["h"], entry["heads"], entry["seq"], entry["ffn"])
    chunks, pipeline, data = entry["interleave"], entry["p"], entry["d"]
    layout = Parallelism(
        groups=derive_megatron_groups(entry["t"], 1, data, pipeline, 1, 1, node=8),
        layers=spread_layers(entry["L"], pipeline * chunks),
        chunks=chunks,
        schedule="interleaved" if chunks > 1 else "1f1b",
        microbatches=entry["global_batch"] // (data * entry["microbatch"]),
        sequences=entry["microbatch"],
        sequence_parallel=entry.get("seq_parallel") or False,
        recompute=RECOMPUTE[entry["recompute"]],
    )
    hardware: Hardware = machines.A100_SELENE if selene else machines.A100_VTRAIN
    model = entry["model"]
    if "single" in entry["source"]:
        source, model = "vTrain, one node", f"L{entry['L']} h{entry['h']}"
    else:
        source = "Selene 2022" if selene else f"vTrain, {model}"
    return Row(
        source=source,
        group=f"{source} {model} n{entry['n_gpus']} B{entry['global_batch']}",
        kind="A100, Megatron 2021-23",
        fitted=source == "vTrain, one node",
        job=Job(architecture, layout, hardware, MEGATRON_2022 if selene else DEEPSPEED),
        seconds=entry["measured_s"],
    )


def _read_simumax(entry: dict[str, Any]) -> Row:
    dense = entry["model"] == "llama3-70b"
    architecture = (LLAMA3_70B if dense else DEEPSEEK_V2)(layers=entry["L"], length=entry["seq"])
    groups = derive_megatron_groups(entry["t"], entry["cp"], entry["d"], entry["p"], entry["ep"], 1, node=8)
    layout = Parallelism(
        groups=groups,
        layers=spread_layers(entry["L"], entry["p"]),
        microbatches=entry["n_microbatches"],
        sequences=entry["microbatch"],
        sequence_parallel=entry["t"] > 1,
        shard="optimizer",
    )
    long = f", {entry['seq'] // 1024}k tokens" if entry["seq"] > 4096 else ""
    return Row(
        source=f"SimuMax, {entry['model']}{long}",
        group=f"SimuMax {entry['model']} s{entry['seq']} B{entry['n_microbatches'] * entry['d']}",
        kind="B200, Megatron 0.14",
        fitted=dense and entry["seq"] <= 32768,
        job=Job(architecture, layout, machines.B200, MEGATRON_014),
        seconds=entry["measured_s"],
        peak=entry["measured_peak_alloc_gib"] * GIB,
    )


def _read_layer(entry: dict[str, Any]) -> Iterator[Row]:
    """The experts of one layer on 8 devices, nothing else of the model; forward and backward are two rows.

    Dispatchers that sort rows inside the collective and 8-bit matmuls are left out: parc has neither.
    """
    architecture = Architecture(
        layers=1,
        hidden=entry["h"],
        heads=32,
        kv_heads=8,
        head_dim=128,
        ffn=entry["moe_ffn"],
        dense_ffn=0,
        vocab=1,
        length=entry["seq"],
        experts=entry["experts"],
        top_k=entry["topk"],
        shared_ffn=entry.get("shared_ffn", 0),
    )
    groups = derive_megatron_groups(entry["t"], 1, entry["ep"], 1, entry["ep"], 1, node=8)
    layout = Parallelism(groups=groups, layers=(1,), microbatches=1, sequences=entry["microbatch"])
    job = Job(architecture, layout, machines.H100, MEGATRON_014)
    measurements: tuple[Measurement, ...] = ("forward", "backward")
    for measurement in measurements:
        yield Row(
            source="Megatron-Core, one layer of experts",
            group=f"{entry['case']} {measurement}",
            kind="H100, Megatron-Core",
            fitted=False,
            job=job,
            seconds=entry[f"{measurement}_s"],
            measurement=measurement,
        )
