"""Values that a plan leaves out, and the figures that are therefore unknown."""

from __future__ import annotations

from typing import NamedTuple

from parc.cost.job.job import Job
from parc.plan.blocks import Plan
from parc.schedule import order as schedule

SHAPE = ("layers", "hidden", "heads", "ffn", "vocab")
DEVICE = ("compute", "memory", "memory_bandwidth")
PRICES = "parameters, FLOPs, memory, traffic, time"
EXAMPLES = {"compute": "400 TFLOPS", "memory": "64 GB", "memory_bandwidth": "1.8 TB/s"}


class MissingFigures(NamedTuple):
    """The names of unknown figures, and the reason; `add` has the lines to add at `where`."""

    figures: str
    reason: str
    where: str
    add: tuple[str, ...]


def find_missing(plan: Plan, job: Job | None, otherwise: str = "") -> tuple[MissingFigures, ...]:
    """`otherwise` is the reason why there is no job if the shape is complete."""
    found = [*_check_shape(plan), *_check_cluster(plan)]
    if job is None and otherwise and not _check_shape(plan):
        found.insert(0, MissingFigures(PRICES, otherwise, "", ()))
    if job is not None and (why := check_schedule(job)):
        found.append(MissingFigures("timeline", why, "", ()))
    return tuple(found)


def check_schedule(job: Job) -> str | None:
    """The reason why the schedule cannot be simulated; None if it can."""
    layout = job.parallelism
    try:
        schedule.order_passes(layout.schedule, job.degrees.pipeline, layout.chunks, layout.microbatches, 0)
    except ValueError as why:
        return str(why)
    return None


def _check_shape(plan: Plan) -> list[MissingFigures]:
    shape = plan.train.model.shape
    names = [name for name in SHAPE if not getattr(shape, name)]
    if shape.experts and not shape.top_k:
        names.append("top_k")
    if not names:
        return []
    why = f"the shape has no {_join_names(names)}"
    add = f"shape {{ {', '.join(f'{name} = ..' for name in names)} }}"
    return [MissingFigures(PRICES, why, f"in model {plan.train.model.name}", (add,))]


def _check_cluster(plan: Plan) -> list[MissingFigures]:
    cluster, found = plan.cluster, []
    given = {name for name in DEVICE if cluster.device and getattr(cluster.device, name)}
    absent = [name for name in DEVICE if name not in given]
    if absent:
        add = f"device {{ {', '.join(f'{name} = {EXAMPLES[name]}' for name in absent)} }}"
        found.append((f"the device has no {_join_names(absent)}" if given else "no device is described", add))
    wired = {link.level for link in cluster.links if link.bandwidth}
    levels = [level.name for level in cluster.levels if level.size > 1 and level.name not in wired]
    for level in levels:
        add = f"link {level} {{ bandwidth = 50 GB/s, latency = 8 us }}"
        found.append((f"the network of level `{level}` is not described", add))
    if not found:
        return []
    why = "; ".join(each for each, _ in found)
    where = f"in cluster {cluster.name}, for example"
    return [MissingFigures("step time, MFU, tokens/s", why, where, tuple(add for _, add in found))]


def _join_names(names: list[str]) -> str:
    return " and no ".join(f"`{name}`" for name in names)
