"""Random plans change where things run, never what is computed, as those of `tests/plans/run/` do."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from parc.check.unsupported import find_unsupported
from parc.verify.sample.sample import compile_sample

from .plans import captured, loaded
from .sample_runs import find_worst


@st.composite
def layouts(draw: st.DrawFn) -> tuple[int, str]:
    """Any mesh of up to 8 ranks, and any strategies that the language allows over it."""
    names = draw(st.permutations(["dp", "ep", "tp", "pp"]))
    sizes = {name: draw(st.sampled_from([1, 1, 2, 2, 4])) for name in names}
    sizes["pp"] = draw(st.sampled_from([1, 1, 2, 3]))
    mesh = [name for name in names if sizes[name] > 1] or ["dp"]
    lines = [f"mesh = [{', '.join(f'{name}: {sizes[name]}' for name in mesh)}]"]
    data = [name for name in mesh if name == "dp" or (name == "ep" and draw(st.booleans()))]
    if data:
        lines.append(f"data over [{', '.join(data)}]")
    if "tp" in mesh:
        lines.append(f"tensor over [tp] {{ sequence = {draw(st.sampled_from(['true', 'false']))} }}")
    split = " { tensor = [tp] }" if "tp" in mesh and "ep" in mesh and draw(st.booleans()) else ""
    if "ep" in mesh:
        lines.append(f"experts over [ep]{split}")
    elif "tp" in mesh and draw(st.booleans()):
        lines.append("experts over [tp]")
    if "pp" in mesh:
        entries = draw(st.permutations([2, 1])) if sizes["pp"] == 2 else [1, 1, 1]
        lines.append(f"pipeline over [pp] {{ schedule = gpipe, layers = {list(entries)} }}")
    ranks = 1
    for name in mesh:
        ranks *= sizes[name]
    return ranks, "\n".join(lines)


def _random(model: str, layout: tuple[int, str], folder: Path) -> None:
    found = loaded(model, *layout)
    if found.diagnostics or find_unsupported(found.plans[0]):
        return
    deviation = find_worst(compile_sample(found.plans[0], captured=captured(model)), folder)
    assert deviation.used < 1, deviation


small = layouts().filter(lambda layout: layout[0] <= 8)
unhurried = settings(
    deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


@settings(unhurried, max_examples=8)
@given(model=st.sampled_from(["moe", "classic"]), layout=small)
def test_a_random_plan_changes_nothing_that_is_computed(
    model: str, layout: tuple[int, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    _random(model, layout, tmp_path_factory.mktemp("random") / "program")
