"""The rows of `data/measured.json` as jobs.

What the constants see, whole models and sources at a time: of the A100 runs those on one node, models of 0.2
to 1.2 billion parameters; of the B200 runs llama3-70b with 4,096 and 32,768 tokens. They have not seen the
3.6B and 39.1B models on 64 and 512 devices, other people's A100 machine (Selene), DeepSeek-V2, 131,072
tokens, or single layers of experts on H100. Two caveats. The form of the model, above all the exponent in
`passes.py`, was settled with the runs of the 3.6B model in view. And 32,768 tokens were held out at first,
until it showed that without them nothing says how fast fused attention is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from parc.cost.job.architecture import Architecture
from parc.cost.job.job import Job
from parc.cost.job.machine import Machine
from parc.cost.job.parallelism import Layout, Recompute
from parc.cost.job.software import Practice
from parc.cost.timing.constants import DATA
from parc.cost.validate import machines
from parc.cost.validate.models import DEEPSEEK_V2, LLAMA3_70B, gpt
from parc.cost.validate.rows import Row, What, megatron

GIB = 2**30

DEEPSPEED = Practice(gradient=2, flash=False, dropout=True, fused=False, scatter=True)
MEGATRON_2021 = Practice(gradient=4, flash=False, dropout=True, fused=False, scatter=True)
MEGATRON_2022 = Practice(gradient=4, flash=False, dropout=True, regather=True, scatter=True)
MEGATRON_014 = Practice(gradient=4, regather=True)

RECOMPUTE: dict[str, Recompute] = {"full": "layer", "selective(attention)": "scores"}


def rows() -> Iterator[Row]:
    for entry in json.loads((DATA / "measured.json").read_text()):
        if entry["kind"] == "step_time":
            yield _gpt(entry)
        elif entry["kind"] == "step_time+memory":
            yield _simumax(entry)
        elif entry["kind"] == "moe_layer" and entry["case"].endswith("a2a_tp1ep8_bf16"):
            yield from _layer(entry)


def even(layers: int, stages: int) -> tuple[int, ...]:
    """As even as can be, the longer stages first."""
    each, more = divmod(layers, stages)
    return tuple(each + (index < more) for index in range(stages))


def _gpt(entry: dict[str, Any]) -> Row:
    selene = "Selene" in entry["hardware"]
    architecture = gpt(entry["L"], entry["h"], entry["heads"], entry["seq"], entry["ffn"])
    chunks, pipeline, data = entry["interleave"], entry["p"], entry["d"]
    layout = Layout(
        reach=megatron(entry["t"], 1, data, pipeline, 1, 1, node=8),
        layers=even(entry["L"], pipeline * chunks),
        chunks=chunks,
        schedule="interleaved" if chunks > 1 else "1f1b",
        microbatches=entry["global_batch"] // (data * entry["microbatch"]),
        sequences=entry["microbatch"],
        sequence=entry.get("seq_parallel") or False,
        recompute=RECOMPUTE[entry["recompute"]],
    )
    machine: Machine = machines.A100_SELENE if selene else machines.A100_VTRAIN
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
        job=Job(architecture, layout, machine, MEGATRON_2022 if selene else DEEPSPEED),
        seconds=entry["measured_s"],
    )


def _simumax(entry: dict[str, Any]) -> Row:
    dense = entry["model"] == "llama3-70b"
    architecture = (LLAMA3_70B if dense else DEEPSEEK_V2)(layers=entry["L"], length=entry["seq"])
    reach = megatron(entry["t"], entry["cp"], entry["d"], entry["p"], entry["ep"], 1, node=8)
    layout = Layout(
        reach=reach,
        layers=even(entry["L"], entry["p"]),
        microbatches=entry["n_microbatches"],
        sequences=entry["microbatch"],
        sequence=entry["t"] > 1,
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


def _layer(entry: dict[str, Any]) -> Iterator[Row]:
    """One layer's experts on 8 devices, forward and backward measured apart, nothing else of the model.

    Left out are dispatchers that sort rows inside the collective, and 8-bit matmuls: parc has neither.
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
    reach = megatron(entry["t"], 1, entry["ep"], 1, entry["ep"], 1, node=8)
    layout = Layout(reach=reach, layers=(1,), microbatches=1, sequences=entry["microbatch"])
    job = Job(architecture, layout, machines.H100, MEGATRON_014)
    whats: tuple[What, ...] = ("forward", "backward")
    for what in whats:
        yield Row(
            source="Megatron-Core, one layer of experts",
            group=f"{entry['case']} {what}",
            kind="H100, Megatron-Core",
            fitted=False,
            job=job,
            seconds=entry[f"{what}_s"],
            what=what,
        )
