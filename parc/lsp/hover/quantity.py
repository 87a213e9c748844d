"""Quantities in other units, and which figures change when one is raised."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from parc.check.claims.figures import derive_figure
from parc.check.costs import Costs, Unknown
from parc.check.load import Loaded
from parc.diagnostic import Severity
from parc.lsp.document.analysis import Analysis
from parc.lsp.document.words import Word
from parc.syntax import units
from parc.syntax.scan import MAX_DIGITS, NUMBER

DIGITS = re.compile(r"[0-9][0-9_]{0,18}")
RAISED = 1.01
LEAST_CHANGE = 1e-6  # of a figure, as a share: less is rounding
FIGURES = (
    "devices",
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


def list_changes(analysis: Analysis, word: Word, number: float, dimension: units.Dimension) -> Iterator[str]:
    """A sentence about what a larger number would change: a quantity by one percent, a count doubled."""
    if not analysis.plans:
        return
    counted = dimension == units.NUMBER
    if counted and not DIGITS.fullmatch(word.text):
        raised, how = f"{number * RAISED!r}", "One percent more"
    elif counted:
        raised, how = str(2 * int(number)), "Twice as many"
    else:
        unit = next((name for name, pair in units.UNITS.items() if pair == (1, dimension)), None)
        raised, how = f"{number * RAISED!r} {unit}", "One percent more"
        if unit is None:
            return
    after = analysis.load_edited([(word.start, word.end, raised)])
    new = Counter(each.code for each in after.diagnostics if each.severity is Severity.ERROR)
    new -= Counter(each.code for each in analysis.loaded.diagnostics)
    if new:
        yield f"{how} would be an error: {', '.join(sorted(new))}."
    elif after.ok and (changes := _compare_figures(analysis, after)):
        yield f"{how} changes {', '.join(changes)}."
    elif after.ok and analysis.loaded.ok:
        yield "No figure of memory or time depends on it."


def _compare_figures(analysis: Analysis, after: Loaded) -> list[str]:
    """The figures that differ, with the largest change of each in any plan."""
    found: dict[str, float] = {}
    for before, then in zip(analysis.loaded.costs, after.costs, strict=False):
        raised = _derive_figures(then)
        for name, old in _derive_figures(before).items():
            new = raised.get(name)
            if new is not None and old and abs(new / old - 1) > LEAST_CHANGE:
                found[name] = max(found.get(name, 0.0), new / old - 1, key=abs)
    percent = {name: 100 * by for name, by in found.items()}
    return [f"`{name}` by {by:{'+,.0f' if abs(by) >= 100 else '+.2g'}}%" for name, by in percent.items()]


def _derive_figures(costs: Costs) -> dict[str, float]:
    found = {}
    for name in FIGURES:
        try:
            found[name] = derive_figure(costs, name).value
        except Unknown:
            continue
    return found
