"""A first plan: the fastest layout that fits, as the cost model has it, with a word on every line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

from parc.check.load import load_text
from parc.check.unsupported import unbuilt
from parc.cost.job.from_plan import derive_job
from parc.cost.memory.peak import predict_memory
from parc.cost.timing.constants import find_nearest_calibration
from parc.cost.timing.step import predict_step
from parc.diagnostic import Diagnostic, Severity
from parc.plan.blocks import Machine, Plan
from parc.plan.imports import HARDWARE_PREFIX, Imports, list_machines
from parc.plan.resolve.resolver import Resolver
from parc.search.layouts import Layout, layouts
from parc.source import Source
from parc.syntax.format import formatted

FULL = {"P322", "P323"}  # what the first plan is not, with this much room:
ROOM = 0.9  # of a device's memory, that a first plan may fill
SPARING = (("none", "none"), ("optimizer", "none"), ("optimizer", "layer"), ("parameters", "layer"))


@dataclass(frozen=True)
class Wish:
    """What is to be trained, and on what."""

    shape: Mapping[str, int | bool]
    machine: str  # of the library of known hardware
    devices: int
    sequences: int
    length: int
    source: str = "model.py:Model"
    balance: float = 0.0
    notes: tuple[str, ...] = ()


class Unfit(Exception):
    """Why there is no plan; the reason is for the user."""


def first_plan(wish: Wish) -> str:
    """The text of a plan file that checks clean. What `parc build` builds goes before what it does not.

    Raises `Unfit`.
    """
    if not wish.source.isprintable():
        raise Unfit("the source of a model is one line: a file or a package, `:` and what to call in it")
    levels = cluster_levels(wish.machine, wish.devices)
    found = list(layouts(wish.shape, wish.devices, levels[-1][1], wish.sequences, wish.length))
    if not found:
        raise Unfit(
            f"no layout of {wish.devices} devices divides the model and its {wish.sequences} sequences evenly"
        )
    least: tuple[float, float] | None = None  # bytes that are needed, of bytes that there are
    faults: list[str] = []
    for shard, recompute in SPARING:
        best: tuple[float, str] | None = None
        for layout in found:
            layout = layout._replace(shard=shard, recompute=recompute)
            text = "\n".join(_lines(wish, levels, layout))
            plan = _sound(text)
            if isinstance(plan, Diagnostic):
                faults.append(plan.message)
                continue
            peak, room = _peak(plan)
            least = min(least or (peak, room), (peak, room))
            if peak <= ROOM * room and (best is None or _seconds(plan) < best[0]):
                best = _seconds(plan), text
        if best:
            return formatted(Source("plan.parc", best[1]))
    if least is None:
        raise Unfit(f"no layout checks without a fault; the first one: {faults[0]}")
    raise Unfit(f"the leanest layout needs {least[0] / 1e9:.1f} GB of a device's {least[1] / 1e9:.0f} GB")


def cluster_levels(machine: str, devices: int) -> list[tuple[str, int]]:
    """Levels of a cluster of so many devices, outermost first. Raises `Unfit` where a unit would be cut."""
    levels: list[tuple[str, int]] = []
    left = devices
    for level in reversed(_machine(machine).levels):
        size = min(left, level.size)
        if left % size:
            raise Unfit(
                f"{devices} devices do not fill whole units: a {level.name} of `{machine}` has {level.size}"
            )
        levels.insert(0, (level.name, size))
        left //= size
    return (
        [("fabric", left), *levels] if left > 1 else [each for each in levels if each[1] > 1] or levels[-1:]
    )


def _machine(name: str) -> Machine:
    resolver = Resolver(Imports(Source("plan.parc", f'import "{HARDWARE_PREFIX}{name}"\n'), []).files, [])
    machine = resolver.machines.get(name)
    if machine is None:
        raise Unfit(f"parc knows no hardware `{name}`, only {', '.join(list_machines())}")
    return machine


def _sound(text: str) -> Plan | Diagnostic:
    """The plan, or what is to be said against it but that it takes more memory than there is."""
    loaded = load_text(Source("plan.parc", text))
    told = (each for each in loaded.diagnostics if each.severity is not Severity.INFO)
    return next((each for each in told if each.code not in FULL), None) or loaded.plans[0]


def _peak(plan: Plan) -> tuple[float, float]:
    """Bytes of the fullest stage, and of a device."""
    found = derive_job(plan)
    assert found is not None
    stages = found.degrees.pipeline
    return max(predict_memory(found, rank).peak for rank in range(stages)), found.require_hardware().memory


def _seconds(plan: Plan) -> float:
    found = derive_job(plan)
    assert found is not None
    # Of two that take as long, the one that is built.
    return predict_step(found, find_nearest_calibration(found.require_hardware()).constants).seconds * (
        1.001 if unbuilt(plan) else 1
    )


def _lines(wish: Wish, levels: list[tuple[str, int]], layout: Layout) -> Iterator[str]:
    yield f"# A first plan: {wish.devices} devices, the fastest layout that fits as parc predicts it."
    yield "# `parc check` finds its faults, `parc explain` shows what every rank does."
    yield f'import "{HARDWARE_PREFIX}{wish.machine}"  # its data sheet\n'
    yield "cluster farm {"
    yield f"machine = {wish.machine}"
    yield f"levels = [{', '.join(f'{name}: {size}' for name, size in levels)}]  # outermost first"
    yield "}\n\nmodel own {"
    yield f"source = {_text(wish.source)}  # a module, or a function that returns one"
    for note in wish.notes:
        yield f"# {note}"
    yield "shape {"
    yield ", ".join(_entry(key, value) for key, value in wish.shape.items() if key not in _OF_EXPERTS)
    if "experts" in wish.shape:
        yield ", ".join(_entry(key, value) for key, value in wish.shape.items() if key in _OF_EXPERTS)
    yield "}\n}\n\ntrain first {  # what is computed: a plan never changes it"
    yield "model = own, seed = 1, steps = 1000"
    sizes = f"sequences = {wish.sequences}, length = {wish.length}, microbatches = {layout.microbatches}"
    yield f"batch {{ {sizes} }}"
    if wish.balance:
        yield f"loss {{ balance = {wish.balance} }}"
    yield "optimizer = adamw { lr = 3e-4, warmup = 100, decay = cosine, min_lr = 3e-5, clip = 1.0 }"
    # Mixed precision is not built yet (P407), and a first plan is to be run.
    why = "bf16, many times as fast, cannot be built yet (P407)"
    yield f"precision {{ compute = fp32, master = fp32 }}  # {why}"
    yield 'dataset = files("corpus/*.txt")'
    yield "}\n\nplan wide for first on farm {  # where it is computed"
    yield from _plan(layout)
    yield "}"


_OF_EXPERTS = ("experts", "top_k", "shared_ffn", "dense_layers", "dense_ffn")


def _plan(layout: Layout) -> Iterator[str]:
    sizes = {"pp": layout.pp, "dp": layout.dp, "ep": layout.ep, "tp": layout.tp}
    axes = [name for name, size in sizes.items() if size > 1] or ["dp"]
    data = [name for name in ("dp", "ep") if name in axes]
    yield f"mesh = [{', '.join(f'{name}: {sizes[name]}' for name in axes)}]  # outermost first, all multiply"
    if data:
        shard = f" {{ shard = {layout.shard} }}" if layout.shard != "none" else ""
        copies = prod(sizes[name] for name in data)
        yield f"data over [{', '.join(data)}]{shard}  # each of {copies} has other sequences"
    if "tp" in axes:
        yield "tensor over [tp] { sequence = true }  # matrices are split, within a node"
    if "ep" in axes:
        yield "experts over [ep]  # tokens go to their experts and come back"
    if "pp" in axes:
        yield 'pipeline over [pp] { schedule = "1f1b" }  # layers are dealt out evenly'
    if layout.recompute != "none":
        yield f"recompute = {layout.recompute}  # activations are computed again rather than kept"


def _entry(key: str, value: int | bool) -> str:
    return f"{key} = {str(value).lower() if isinstance(value, bool) else value}"


def _text(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
