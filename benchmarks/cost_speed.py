"""How many plans the cost model prices in a second, on one core.

Every layout of one model with experts on 512 devices, with pipelines whose stages x microbatches are at most
256, each priced once: nothing is asked for twice, but for what plans have in common. CPU time.

    python benchmarks/cost_speed.py            # the table
    python benchmarks/cost_speed.py --profile  # and where the time goes
"""

from __future__ import annotations

import cProfile
import pstats
import sys
from collections.abc import Iterator
from itertools import product
from time import process_time

from parc.cost.job.architecture import Architecture
from parc.cost.job.job import Job
from parc.cost.job.parallelism import Parallelism, Recompute
from parc.cost.job.software import Software
from parc.cost.memory.peak import predict_memory
from parc.cost.timing.constants import load_calibrations
from parc.cost.timing.step import predict_step
from parc.cost.validate import machines
from parc.cost.validate.rows import derive_megatron_groups
from parc.plan.placement import spread_layers
from parc.plan.schema.plan import SPLIT

DEVICES, SEQUENCES, MOST = 512, 1024, 256
MODEL = Architecture(
    layers=32, hidden=4096, heads=32, kv_heads=8, head_dim=128, ffn=14336, dense_ffn=14336,
    vocab=32000, length=4096, experts=8, top_k=2,
)  # fmt: skip
POWERS = (1, 2, 4, 8, 16, 32)
SCHEDULES = (("1f1b", 1), ("interleaved", 2), ("zero_bubble", 1), ("zbv", 2), ("dualpipev", 2))
RECOMPUTE: tuple[Recompute, ...] = ("none", "layer")


def jobs() -> Iterator[Job]:
    """Layouts of `MODEL`, each once."""
    for tensor, pipeline, experts, (schedule, chunks), each, recompute in product(
        (1, 2, 4, 8), POWERS, (1, 2, 4, 8), SCHEDULES, (1, 2, 4), RECOMPUTE
    ):
        data = DEVICES // (tensor * pipeline)
        microbatches = SEQUENCES // (data * each)
        if data < experts or not microbatches or pipeline * microbatches > MOST:
            continue
        if chunks > 1 and (pipeline == 1 or microbatches % pipeline or pipeline * chunks > MODEL.layers):
            continue
        if schedule in SPLIT and (recompute != "none" or microbatches < pipeline * chunks):
            continue
        layout = Parallelism(
            groups=derive_megatron_groups(tensor, 1, data, pipeline, experts, 1, node=8),
            layers=spread_layers(MODEL.layers, pipeline * chunks),
            chunks=chunks,
            schedule=schedule,
            microbatches=microbatches,
            sequences=each,
            sequence_parallel=tensor > 1,
            recompute=recompute,
            shard="optimizer",
        )
        yield Job(MODEL, layout, machines.H100, Software())


def speeds() -> tuple[int, float, float]:
    """Plans, steps predicted a second, and the same with the memory of every rank of the pipeline."""
    constants = next(iter(load_calibrations().values())).constants
    some = list(jobs())
    begin = process_time()
    for job in some:
        predict_step(job, constants)
    middle = process_time()
    for job in some:
        for rank in range(job.degrees.pipeline):
            predict_memory(job, rank)
    end = process_time()
    return len(some), len(some) / (middle - begin), len(some) / (end - begin)


def main() -> None:
    profile = cProfile.Profile()
    if "--profile" in sys.argv:
        profile.enable()
    plans, step, both = speeds()
    profile.disable()
    print(f"{plans:,} plans, stages x microbatches at most {MOST}")
    print(f"{step:,.0f} a second: step time")
    print(f"{both:,.0f} a second: step time and memory of every rank of the pipeline")
    if "--profile" in sys.argv:
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
