"""Describes a quantity: its value in other units, and which figures change when it is raised."""

from __future__ import annotations

from collections.abc import Iterator

from parc.check.claims.figures import derive_figure
from parc.check.costs import Costs, Unknown
from parc.lsp.document.analysis import Analysis
from parc.lsp.document.words import Word
from parc.lsp.markdown import format_code
from parc.syntax import units
from parc.syntax.scan import MAX_DIGITS, NUMBER

RAISED = 1.01
LEAST_CHANGE = 1e-6  # of a figure, as a share: less is rounding
FIGURES = (
    "step_time",
    "mfu",
    "memory.peak",
    "bubble",
    "data.time",
    "tensor.time",
    "experts.time",
    "pipeline.time",
)
UNITS: dict[units.Dimension, tuple[str, ...]] = {
    units.SIZE: ("MB", "MiB", "GB", "GiB", "TB", "TiB"),
    units.TIME: ("us", "ms", "s", "min", "h"),
    units.BANDWIDTH: ("MB/s", "GB/s", "GiB/s", "TB/s"),
    units.WORK: ("GFLOP", "TFLOP", "PFLOP"),
    units.COMPUTE: ("GFLOPS", "TFLOPS", "PFLOPS"),
}
READABLE = (0.01, 100_000)  # the range of numbers that are shown


def describe_quantity(analysis: Analysis, word: Word) -> str | None:
    """The text about a number with its unit; None if it is no quantity."""
    value = parse_quantity(word.text)
    if value is None:
        return None
    number, dimension = value
    equal = [format_code(word.text), *convert_quantity(number, dimension, word.text)]
    lines = [" = ".join(equal)]
    if changes := _list_changes(analysis, word, number, dimension):
        lines += ["", f"One percent more changes {', '.join(changes)}."]
    return "\n".join(lines)


def parse_quantity(text: str) -> tuple[float, units.Dimension] | None:
    """A number in SI units, and what it measures."""
    digits = NUMBER.match(text)
    unit = text[digits.end() :].strip() if digits else ""
    if digits is None or len(digits[0]) > MAX_DIGITS or (unit and unit not in units.UNITS):
        return None
    scale, dimension = units.UNITS[unit] if unit else (1, units.NUMBER)
    return float(digits[0]) * scale, dimension


def convert_quantity(number: float, dimension: units.Dimension, written: str) -> Iterator[str]:
    """The number in each unit of its dimension but the one in which it is written."""
    for name in UNITS.get(dimension, ()):
        scaled = number / units.UNITS[name][0]
        if READABLE[0] <= abs(scaled) < READABLE[1] and not written.endswith(f" {name}"):
            yield f"{scaled:,.6g} {name}"


def _list_changes(analysis: Analysis, word: Word, number: float, dimension: units.Dimension) -> list[str]:
    """The figures that depend on the quantity, with the largest change of each in any plan."""
    unit = next(
        (name for name, (scale, measures) in units.UNITS.items() if measures == dimension and scale == 1),
        None,
    )
    if unit is None or dimension == units.NUMBER:
        return []
    after = analysis.load_edited([(word.start, word.end, f"{number * RAISED!r} {unit}")])
    if not after.ok:
        return []
    found: dict[str, float] = {}
    for before, then in zip(analysis.loaded.costs, after.costs, strict=False):
        raised = _derive_figures(then)
        for name, old in _derive_figures(before).items():
            new = raised.get(name)
            if new is not None and old and abs(new / old - 1) > LEAST_CHANGE:
                found[name] = max(found.get(name, 0.0), new / old - 1, key=abs)
    return [f"`{name}` by {100 * by:+.2g}%" for name, by in found.items()]


def _derive_figures(costs: Costs) -> dict[str, float]:
    found = {}
    for name in FIGURES:
        try:
            found[name] = derive_figure(costs, name).value
        except Unknown:
            continue
    return found
