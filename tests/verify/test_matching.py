"""The operations of every rank in a step: derived, matched, and compared with an emitted program's."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from parc import driver
from parc.capture.capture import Captured, capture
from parc.check.load import load, load_text
from parc.emit.program import emit
from parc.emit.write import write
from parc.plan.blocks import Plan
from parc.source import Source
from parc.trace.derive import derive_roles
from parc.trace.match import match
from parc.verify.matching.rung import prove_matching
from parc.verify.report import Rung
from tests.plans.test_build import PLANS, list_expected

from .plans import EXAMPLES, LAYOUTS, MODELS, captured, compile_program, find_plan, list_folded

BUILT = [(file, name) for file, name in PLANS if not list(list_expected(file))]
QUICK_FILES = [file for file, _ in BUILT if file.stem == "above-the-mean"]  # which has no gradient
QUICK = ("everything", "experts-on-the-sequence", "1f1b-uneven")


def prove(plan: Plan, model: Captured, folder: Path) -> Rung:
    program = compile_program(plan, model)
    write(emit(plan, program, {}), folder)
    return prove_matching(plan, program, folder, seed=0, timeout=300.0)


@pytest.mark.parametrize("model", ["moe", "classic"])
@pytest.mark.parametrize(
    "layout", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in LAYOUTS]
)
def test_every_rank_issues_what_its_role_says(model: str, layout: str, tmp_path: Path) -> None:
    plan = find_plan(model, layout)
    found = prove(plan, captured(model), tmp_path / "program")
    assert found.verdict == "proved", found
    assert f"all {plan.mesh.size} ranks recorded" in found.compared[1]


@pytest.mark.parametrize(("file", "name"), list_folded())
def test_groups_over_several_axes_are_those_of_the_roles(file: str, name: str, tmp_path: Path) -> None:
    plan = find_plan(name, file)
    found = prove(plan, capture(plan), tmp_path / "program")
    assert found.verdict == "proved", found
    assert f"all {plan.mesh.size} ranks recorded" in found.compared[1]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        pytest.param(
            file, name, id=f"{file.stem}-{name}", marks=[] if file in QUICK_FILES else pytest.mark.slow
        )
        for file, name in BUILT
    ],
)
def test_models_of_every_kind_issue_what_their_roles_say(file: Path, name: str, tmp_path: Path) -> None:
    made = driver.compile_plan(load(file), name)
    assert isinstance(made, driver.Compiled)
    write(made.files, tmp_path / "program")
    found = prove_matching(made.plan, made.program, tmp_path / "program", seed=0, timeout=300.0)
    assert found.verdict == "proved", found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_roles_fit_together_in_the_first_step_and_after_it(layout: str) -> None:
    plan = find_plan("classic", layout)
    program = compile_program(plan, captured("classic"))
    for steps in ((0,), (1,), (0, 1)):
        roles = derive_roles(plan, program, steps)
        assert len(roles) == (plan.mesh.axis("pp").size if plan.pipeline else 1)
        assert match(roles) == ()


def test_rows_of_experts_are_symbols_and_all_else_is_numbers() -> None:
    plan = find_plan("moe", "experts-with-data")
    (role,) = derive_roles(plan, compile_program(plan, captured("moe")))
    shapes = {issue.op.kind: issue.op.shape for issue in role.issued if issue.op.axis == "ep"}
    assert isinstance(shapes["all_to_all"][0], str)
    sums = [issue.op.shape for issue in role.issued if issue.op.kind == "all_reduce"]
    assert all(isinstance(size, int) for shape in sums for size in shape)


LARGE = """
cluster c { levels = [node: 4096] }
train large {
  model = classic, seed = 3, steps = 10
  batch { sequences = 2048, length = 6, microbatches = 4 }
  precision { compute = fp64, master = fp64 }
}
plan p for large on c {
  mesh = [dp: 128, ep: 4, pp: 2, tp: 4]
  data     over [dp, ep]
  tensor   over [tp]
  experts  over [ep]
  pipeline over [pp] { layers = [2, 1] }
}
"""


def test_4096_ranks_are_matched_by_their_roles_in_less_than_a_minute(tmp_path: Path) -> None:
    """Measured: 7.6 CPU seconds, compiling included. CPU time, for the machine may have others to serve."""
    (plan,) = load_text(Source(str(EXAMPLES / "of-a-test.parc"), MODELS + LARGE)).plans
    before = _seconds()
    found = prove(plan, capture(plan), tmp_path / "program")
    assert found.verdict == "proved", found
    assert found.compared[0].startswith("4,096 ranks in 2 roles, ")
    assert "8 of 4,096 ranks recorded" in found.compared[1]
    assert _seconds() - before < 60


def _seconds() -> float:
    """Of this process and of its children that have ended, on any core."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
