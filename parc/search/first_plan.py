"""A first plan: the layout that is predicted to be the fastest and fits, with a comment on every line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

from parc.check.costs import Costs
from parc.check.load import load_text
from parc.check.unsupported import find_unsupported
from parc.diagnostic import Severity
from parc.plan.blocks import Machine
from parc.plan.imports import HARDWARE_PREFIX, Imports, list_machines
from parc.plan.resolve.resolver import Resolver
from parc.search.layouts import Layout, list_layouts
from parc.source import Source
from parc.syntax.format import format_source

FULL = {"P322", "P323"}  # errors and warnings about memory
ROOM = 0.9  # of a device's memory, that a first plan may fill
SLOWER = 1.001  # how many times as long the step of a plan counts that cannot be built
SPARING = (("none", "none"), ("optimizer", "none"), ("optimizer", "layer"), ("parameters", "layer"))


@dataclass(frozen=True)
class Setup:
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


def write_first_plan(setup: Setup) -> str:
    """The text of a plan file without errors and warnings. A plan that can be built is preferred.

    Raises:
        Unfit: there is none.
    """
    if not setup.source.isprintable():
        raise Unfit("the source of a model is one line: a file or a package, `:` and what to call in it")
    levels = split_into_levels(setup.machine, setup.devices)
    layouts = list(list_layouts(setup.shape, setup.devices, levels[-1][1], setup.sequences, setup.length))
    if not layouts:
        what = f"the model and its {setup.sequences} sequences"
        raise Unfit(f"no layout of {setup.devices} devices divides {what} evenly")
    least: tuple[float, float] | None = None  # bytes that are needed, of bytes that there are
    faults: list[str] = []
    for shard, recompute in SPARING:
        found: list[tuple[float, str]] = []  # seconds of a step, and the text
        for layout in layouts:
            text = "\n".join(_write_lines(setup, levels, layout._replace(shard=shard, recompute=recompute)))
            costs = _check(text)
            if isinstance(costs, str):
                faults.append(costs)
                continue
            peak, memory = max(each.value for each in costs.memory), costs.job.require_hardware().memory
            least = min(least or (peak, memory), (peak, memory))
            if peak <= ROOM * memory:
                built = not find_unsupported(costs.plan)
                found.append((costs.step.seconds * (1 if built else SLOWER), text))
        if found:
            return format_source(Source("plan.parc", min(found, key=lambda each: each[0])[1]))
    if least is None:
        raise Unfit(f"every layout has an error or a warning, the first one: {faults[0]}")
    raise Unfit(f"the leanest layout needs {least[0] / 1e9:.1f} GB of a device's {least[1] / 1e9:.0f} GB")


def split_into_levels(machine: str, devices: int) -> list[tuple[str, int]]:
    """Names and sizes of the levels of a cluster of so many devices, outermost first.

    Raises:
        Unfit: the devices do not fill whole nodes.
    """
    levels: list[tuple[str, int]] = []
    left = devices
    for level in reversed(_find_machine(machine).levels):
        size = min(left, level.size)
        if left % size:
            raise Unfit(
                f"{devices} devices do not fill whole units: a {level.name} of `{machine}` has {level.size}"
            )
        levels.insert(0, (level.name, size))
        left //= size
    if left > 1:
        return [("fabric", left), *levels]
    return [each for each in levels if each[1] > 1] or levels[-1:]


def _find_machine(name: str) -> Machine:
    resolver = Resolver(Imports(Source("plan.parc", f'import "{HARDWARE_PREFIX}{name}"\n'), []).files, [])
    machine = resolver.machines.get(name)
    if machine is None:
        raise Unfit(f"there is no hardware `{name}`, only {', '.join(list_machines())}")
    return machine


def _check(text: str) -> Costs | str:
    """What the plan costs, or an error or a warning about it other than that it needs too much memory."""
    loaded = load_text(Source("plan.parc", text))
    found = (each for each in loaded.diagnostics if each.severity is not Severity.INFO)
    return next((each.message for each in found if each.code not in FULL), None) or loaded.costs[0]


def _write_lines(setup: Setup, levels: list[tuple[str, int]], layout: Layout) -> Iterator[str]:
    yield f"# A first plan: {setup.devices} devices, the layout that is predicted to be the fastest and fits."
    yield "# `parc check` finds its faults, `parc explain` shows what every rank does."
    yield f'import "{HARDWARE_PREFIX}{setup.machine}"  # its data sheet\n'
    yield "cluster farm {"
    yield f"machine = {setup.machine}"
    yield f"levels = [{', '.join(f'{name}: {size}' for name, size in levels)}]  # outermost first"
    yield "}\n\nmodel own {"
    yield f"source = {_quote(setup.source)}  # a module, or a function that returns one"
    for note in setup.notes:
        yield f"# {note}"
    yield "shape {"
    yield ", ".join(_format_entry(key, value) for key, value in setup.shape.items() if key not in _OF_EXPERTS)
    if "experts" in setup.shape:
        yield ", ".join(_format_entry(key, value) for key, value in setup.shape.items() if key in _OF_EXPERTS)
    yield "}\n}\n\ntrain first {  # what is computed: a plan never changes it"
    yield "model = own, seed = 1, steps = 1000"
    sizes = f"sequences = {setup.sequences}, length = {setup.length}, microbatches = {layout.microbatches}"
    yield f"batch {{ {sizes} }}"
    if setup.balance:
        yield f"loss {{ balance = {setup.balance} }}"
    yield "optimizer = adamw { lr = 3e-4, warmup = 100, decay = cosine, min_lr = 3e-5, clip = 1.0 }"
    # Mixed precision is not built yet (P407), and a first plan is to be run.
    why = "bf16, many times as fast, cannot be built yet (P407)"
    yield f"precision {{ compute = fp32, master = fp32 }}  # {why}"
    yield 'dataset = files("corpus/*.txt")'
    yield "}\n\nplan wide for first on farm {  # where it is computed"
    yield from _write_plan(layout)
    yield "}"


_OF_EXPERTS = ("experts", "top_k", "shared_ffn", "dense_layers", "dense_ffn")


def _write_plan(layout: Layout) -> Iterator[str]:
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
        yield "pipeline over [pp] { schedule = 1f1b }  # layers are dealt out evenly"
    if layout.recompute != "none":
        yield f"recompute = {layout.recompute}  # activations are computed again rather than kept"


def _format_entry(key: str, value: int | bool) -> str:
    return f"{key} = {str(value).lower() if isinstance(value, bool) else value}"


def _quote(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
