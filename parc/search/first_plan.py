"""A first plan: the layout that is predicted to be the fastest and fits, with a comment on every line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from parc.check.costs import Unknown
from parc.check.detection import price
from parc.check.incremental import History
from parc.check.load import load_text
from parc.check.unsupported import find_unsupported
from parc.diagnostic import Diagnostic, Severity
from parc.plan.blocks import Machine
from parc.plan.imports import HARDWARE_PREFIX, Imports, list_machines
from parc.plan.placement import spread_layers
from parc.plan.resolve.resolver import Resolver
from parc.search.config.read import ShapeEntries
from parc.search.layouts import CandidateLayout, list_layouts
from parc.source import Source
from parc.syntax.format import format_source

SLOW = ("P324", "P326", "P327")
IMPROVED = ("P324", "P326")  # warnings about the order of axes and about uneven stages, with another layout
MOST_IMPROVED = 4
MOST_CHECKED = 16  # of the layouts that fit, the fastest ones
ROOM = 0.9  # of a device's memory, that a first plan may fill


@dataclass(frozen=True)
class Setup:
    """What is to be trained, and on what."""

    shape: ShapeEntries
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
    """The text of a plan file without errors, which can be built; where there is one, without warnings.

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
    priced = _price_layouts(setup, levels, layouts)
    slow: list[str] = []  # what is wrong with these is that they could be faster
    fault = priced.fault
    for _, text in sorted(priced.fitting)[:MOST_CHECKED]:
        text, found = _improve(text)
        if not found:
            return format_source(Source("plan.parc", text))
        if all(each.code in SLOW for each in found):
            slow.append(text)
        fault = fault or found[0].message
    if slow:
        return format_source(Source("plan.parc", slow[0]))
    if priced.least and not priced.fitting:
        least, memory = priced.least
        most = f"{least / 1e9:.1f} GB of a device's {memory / 1e9:.0f} GB"
        raise Unfit(f"the leanest layout that can be built needs {most}: use more devices")
    raise Unfit(f"every layout has an error or a warning, the first one: {fault}")


class _PricedLayouts(NamedTuple):
    """Which layouts fit, and why others do not."""

    fitting: list[tuple[float, str]]  # seconds of a step, and the text
    least: tuple[float, float] | None  # bytes that the leanest layout needs, of those that there are
    fault: str  # of a layout that has no figures


def _price_layouts(
    setup: Setup, levels: list[tuple[str, int]], layouts: Iterable[CandidateLayout]
) -> _PricedLayouts:
    fitting: list[tuple[float, str]] = []
    needed: list[tuple[float, float]] = []
    fault = ""
    history = History()  # most of a text is that of the one before
    full: set[CandidateLayout] = set()  # that do not fit, however many microbatches they have
    for layout in sorted(layouts, key=lambda each: -each.microbatches):
        alike = layout._replace(microbatches=0)
        if alike in full:
            continue
        text = "\n".join(_write_lines(setup, levels, layout))
        history.begin()
        files = Imports(Source("plan.parc", text), [], parse=history.parse).files
        (plan,) = Resolver(files, [], history.blocks).plans
        try:
            costs = price(plan)
            peak, memory = max(each.value for each in costs.memory), costs.job.require_hardware().memory
        except Unknown as reason:
            fault = fault or str(reason)
            continue
        needed.append((peak, memory))
        if peak <= ROOM * memory:
            fitting.append((costs.step.seconds, text))
        else:
            full.add(alike)
    return _PricedLayouts(fitting, min(needed, default=None), fault)


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


def _improve(text: str) -> tuple[str, list[Diagnostic]]:
    """The text with the layout that the check proposes instead, and what is wrong with it nevertheless."""
    found = _find_faults(text)
    for _ in range(MOST_IMPROVED):
        fix = next((each.fix for each in found if each.fix and each.code in IMPROVED), None)
        if fix is None:
            break
        for span, new in sorted(fix.edits, key=lambda edit: -edit[0].start):
            text = text[: span.start] + new + text[span.end :]
        found = _find_faults(text)
    return text, found


def _find_faults(text: str) -> list[Diagnostic]:
    """Errors and warnings of the plan, and why it cannot be built."""
    loaded = load_text(Source("plan.parc", text))
    found = [each for each in loaded.diagnostics if each.severity is not Severity.INFO]
    return [*found, *find_unsupported(loaded.plans[0])]


def _write_lines(setup: Setup, levels: list[tuple[str, int]], layout: CandidateLayout) -> Iterator[str]:
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
    yield from list_shape_lines(setup.shape)
    yield "}\n}\n\ntrain first {  # what is computed: a plan never changes it"
    yield "model = own, seed = 1, steps = 1000"
    sizes = f"sequences = {setup.sequences}, length = {setup.length}, microbatches = {layout.microbatches}"
    yield f"batch {{ {sizes} }}"
    if setup.balance:
        yield f"loss {{ balance = {setup.balance} }}"
    yield "optimizer = adamw { lr = 3e-4, warmup = 100, decay = cosine, min_lr = 3e-5, clip = 1.0 }"
    yield "precision { compute = bf16, master = fp32 }"
    yield 'dataset = files("corpus/*.txt")'
    yield "}\n\nplan wide for first on farm {  # where it is computed"
    yield from _write_plan(layout, int(setup.shape["layers"]))  # type: ignore[arg-type]  # a number
    yield "}"


_OF_EXPERTS = ("experts", "top_k", "shared_ffn", "dense_layers", "expert_layers", "dense_ffn")
_OF_FEW = ("tied", "latent", "attention_layers", "other")


def list_shape_lines(shape: ShapeEntries) -> Iterator[str]:
    """The lines of the block `shape`."""
    usual = [key for key in shape if key not in (*_OF_EXPERTS, *_OF_FEW)]
    for keys in (usual, _OF_EXPERTS, _OF_FEW):
        if entries := [_format_entry(key, shape[key]) for key in keys if key in shape]:
            yield ", ".join(entries)


def _write_plan(layout: CandidateLayout, layers: int) -> Iterator[str]:
    sizes = {"pp": layout.pp, "dp": layout.dp, "ep": layout.ep, "tp": layout.tp}
    axes = [name for name, size in sizes.items() if size > 1] or ["dp"]
    data = [name for name in ("dp", "ep") if name in axes]
    yield f"mesh = [{', '.join(f'{name}: {sizes[name]}' for name in axes)}]  # outermost first, all multiply"
    if data:
        copies = prod(sizes[name] for name in data)
        yield f"data over [{', '.join(data)}]  # each of {copies} has other sequences"
    if "tp" in axes:
        yield "tensor over [tp] { sequence = true }  # matrices are split, within a node"
    if "ep" in axes:
        split = " { tensor = [tp] }" if layout.split_experts else ""
        yield f"experts over [ep]{split}  # tokens go to their experts and come back"
    if "pp" in axes:
        uneven = f", layers = {list(spread_layers(layers, layout.pp))}" if layers % layout.pp else ""
        yield f"pipeline over [pp] {{ schedule = 1f1b{uneven} }}  # layers are dealt out evenly"


def _format_entry(key: str, value: int | bool | tuple[int, ...]) -> str:
    if isinstance(value, tuple):
        return f"{key} = {list(value)}"
    return f"{key} = {str(value).lower() if isinstance(value, bool) else value}"


def _quote(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
