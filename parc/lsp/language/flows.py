"""A quantity in other units, and where it flows: which figures of the plans move when it is raised."""

from __future__ import annotations

from collections.abc import Iterator

from parc.check.claims.figures import figure
from parc.check.costs import Costs, Unknown
from parc.lsp.document.analysis import Analysis
from parc.lsp.document.cursor import Place
from parc.plan.blocks import Claim, Plan
from parc.syntax import units
from parc.syntax.scan import MAX_DIGITS, NUMBER

RAISED = 1.01
SEEN = 1e-6  # a figure that moves less does not move
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
OTHERS: dict[units.Dimension, tuple[str, ...]] = {
    units.SIZE: ("MB", "MiB", "GB", "GiB", "TB", "TiB"),
    units.TIME: ("us", "ms", "s", "min", "h"),
    units.BANDWIDTH: ("MB/s", "GB/s", "GiB/s", "TB/s"),
    units.WORK: ("GFLOP", "TFLOP", "PFLOP"),
    units.COMPUTE: ("GFLOPS", "TFLOPS", "PFLOPS"),
}
SENSIBLE = (0.01, 100_000)  # numbers that people read


def of_quantity(analysis: Analysis, place: Place) -> str | None:
    word = place.word
    assert word is not None
    value = worth(word.text)
    if value is None:
        return None
    number, dimension = value
    lines = [f"`{word.text}`"]
    if others := list(in_others(number, dimension, word.text)):
        lines[0] += " = " + " = ".join(others)
    moved = _moved(analysis, word.start, word.end, number, dimension)
    if moved:
        lines += ["", "One percent more moves " + ", ".join(moved) + "."]
    return "\n".join(lines)


def of_constant(analysis: Analysis, name: str) -> str:
    """Where a constant is used."""
    from parc.lsp.document import names

    places = [
        f"line {each.span.line}" + ("" if each.path == analysis.key else f" of `{each.path.name}`")
        for each in names.mentions(analysis)
        if each.symbol == names.Symbol("let", name) and not each.defines
    ]
    return f"used on {', '.join(places)}" if places else "not used"


def worth(text: str) -> tuple[float, units.Dimension] | None:
    """A number in SI, and what it measures."""
    digits = NUMBER.match(text)
    unit = text[digits.end() :].strip() if digits else ""
    if digits is None or len(digits[0]) > MAX_DIGITS or (unit and unit not in units.UNITS):
        return None
    scale, dimension = units.UNITS[unit] if unit else (1, units.NUMBER)
    return float(digits[0]) * scale, dimension


def in_others(number: float, dimension: units.Dimension, but: str) -> Iterator[str]:
    for name in OTHERS.get(dimension, ()):
        scaled = number / units.UNITS[name][0]
        if SENSIBLE[0] <= abs(scaled) < SENSIBLE[1] and not but.endswith(f" {name}"):
            yield f"{scaled:,.6g} {name}"


def _moved(analysis: Analysis, start: int, end: int, number: float, dimension: units.Dimension) -> list[str]:
    """The figures that depend on the quantity, by how much; of the plan that they are most of."""
    unit = next((name for name, (scale, of) in units.UNITS.items() if of == dimension and scale == 1), None)
    if unit is None or dimension == units.NUMBER:
        return []
    after = analysis.tried([(start, end, f"{number * RAISED!r} {unit}")])
    if not after.ok:
        return []
    found: dict[str, float] = {}
    for before, then in zip(analysis.plans, after.plans, strict=False):
        for name, old in _figures(before).items():
            new = _figures(then).get(name)
            if new is not None and old and abs(new / old - 1) > SEEN:
                found[name] = max(found.get(name, 0.0), new / old - 1, key=abs)
    return [f"`{name}` by {100 * by:+.2g}%" for name, by in found.items()]


def _figures(plan: Plan) -> dict[str, float]:
    of = Costs(plan)
    found = {}
    for name in FIGURES:
        try:
            found[name] = figure(of, Claim(subject=name, relation="==", value=0.0, span=plan.span)).value
        except Unknown:
            continue
    return found
