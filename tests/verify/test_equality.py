"""A plan changes where things run, never what is computed.

Every program is emitted to a folder and run under real gloo processes for 3 optimizer steps, in float64:
its losses, gradient norm, and every gradient and parameter on every rank equal those of the model itself.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from parc.check.unsupported import find_unsupported
from parc.verify.sample.sample import compile_sample

from .plans import captured, loaded
from .sample_runs import find_worst

LAYOUTS = {
    "one rank": (
        1,
        """
        mesh = [dp: 1]
        data over [dp]
        """,
    ),
    "data": (
        4,
        """
        mesh = [dp: 4]
        data over [dp]
        """,
    ),
    "tensor": (
        2,
        """
        mesh = [tp: 2]
        tensor over [tp]
        """,
    ),
    "tensor, sequence": (
        2,
        """
        mesh = [tp: 2]
        tensor over [tp] { sequence = true }
        """,
    ),
    "experts with data": (
        4,
        """
        mesh = [ep: 4]
        data over [ep]
        experts over [ep]
        """,
    ),
    "experts without data": (
        2,
        """
        mesh = [ep: 2]
        experts over [ep]
        """,
    ),
    "experts inside data": (
        4,
        """
        mesh = [dp: 2, ep: 2]
        data over [dp, ep]
        experts over [ep]
        """,
    ),
    "experts outside data": (
        4,
        """
        mesh = [ep: 2, dp: 2]
        data over [dp]
        experts over [ep]
        """,
    ),
    "experts on the tensor axis": (
        2,
        """
        mesh = [tp: 2]
        tensor over [tp]
        experts over [tp]
        """,
    ),
    "experts on the sequence": (
        4,
        """
        mesh = [dp: 2, tp: 2]
        data over [dp]
        tensor over [tp] { sequence = true }
        experts over [tp]
        """,
    ),
    "experts split": (
        4,
        """
        mesh = [ep: 2, tp: 2]
        data over [ep]
        tensor over [tp]
        experts over [ep] { tensor = [tp] }
        """,
    ),
    "experts split, sequence": (
        4,
        """
        mesh = [ep: 2, tp: 2]
        data over [ep]
        tensor over [tp] { sequence = true }
        experts over [ep] { tensor = [tp] }
        """,
    ),
    "gpipe, uneven": (
        2,
        """
        mesh = [pp: 2]
        pipeline over [pp] { schedule = "gpipe", layers = [1, 2] }
        """,
    ),
    "1f1b, uneven": (
        2,
        """
        mesh = [pp: 2]
        pipeline over [pp] { schedule = "1f1b", layers = [2, 1] }
        """,
    ),
    "three stages": (
        3,
        """
        mesh = [pp: 3]
        pipeline over [pp] { schedule = "gpipe" }
        """,
    ),
    "everything": (
        8,
        """
        mesh = [ep: 2, pp: 2, tp: 2]
        data over [ep]
        tensor over [tp] { sequence = true }
        experts over [ep] { tensor = [tp] }
        pipeline over [pp] { layers = [1, 2] }
        """,
    ),
    "everything, other order": (
        8,
        """
        mesh = [pp: 2, tp: 2, dp: 2]
        data over [dp]
        tensor over [tp]
        experts over [tp]
        pipeline over [pp] { schedule = "gpipe", layers = [2, 1] }
        """,
    ),
}


@pytest.mark.parametrize("model", ["moe", "classic"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_plan_changes_nothing_that_is_computed(model: str, layout: str, tmp_path: Path) -> None:
    found = loaded(model, *LAYOUTS[layout])
    assert found.ok
    deviation = find_worst(compile_sample(found.plans[0], captured=captured(model)), tmp_path / "program")
    assert deviation.used < 1, deviation


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
        lines.append(f'pipeline over [pp] {{ schedule = "gpipe", layers = {list(entries)} }}')
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
def test_nor_does_any_of_a_few_random_plans(
    model: str, layout: tuple[int, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    _random(model, layout, tmp_path_factory.mktemp("random") / "program")
