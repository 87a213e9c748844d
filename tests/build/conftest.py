"""Programs that several tests look at, built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from parc import driver
from parc.diagnostic import has_errors
from tests.build.projects import ALL, Project

EXAMPLES = Path(__file__).parents[2] / "examples"
PLANS = [
    ("quickstart", "quickstart"),
    ("seed", "wide"),
    *(
        ("classic", name)
        for name in ("alone", "replicas", "tensors", "sequence", "experts", "stages", "everything")
    ),
]


@pytest.fixture(scope="session", params=PLANS, ids=lambda plan: f"{plan[0]}-{plan[1]}")
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of an example plan."""
    file, plan = request.param
    out = tmp_path_factory.mktemp("examples") / "out"
    assert not has_errors(driver.build(EXAMPLES / f"{file}.parc", plan, out, check=False).diagnostics)
    return out


@pytest.fixture(scope="session")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("seed") / "out"
    assert not has_errors(driver.build(EXAMPLES / "seed.parc", None, out, check=False).diagnostics)
    return out


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A built project of four ranks: two stages, two data ranks with two experts each."""
    project = Project(tmp_path_factory.mktemp("small") / "project", ALL, 4)
    assert project.build() == ()
    return project
