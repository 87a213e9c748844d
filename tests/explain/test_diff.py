"""`parc diff`: what changes from one plan to another, and whether they compute the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parc import cli
from parc.plan.mesh import Axis, Mesh
from parc.report.assignment import describe_assignment, format_index
from parc.report.difference import compare_plans
from parc.report.settings import SettingChange
from tests.explain.plans import DEVICE, build_small, explain_text, load_plan

TURNED = build_small(DEVICE).replace("mesh = [ep: 2, pp: 2, tp: 2]", "mesh = [pp: 2, ep: 2, tp: 2]")


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.data())
def test_homes_are_formulae_that_give_the_index(sizes: list[int], data: st.DataObject) -> None:
    mesh = Mesh(tuple(Axis(f"a{number}", size) for number, size in enumerate(sizes)))
    names = data.draw(st.sets(st.sampled_from(mesh.names)))
    formula = format_index(mesh, names)
    for rank in range(mesh.size):
        assert eval(formula, {"r": rank}) == mesh.index(rank, names)


def test_homes_of_a_plan() -> None:
    """rank = (ep * 2 + pp) * 2 + tp; two of four experts on each rank."""
    assert describe_assignment(load_plan(build_small())) == {
        "stage": "r // 2 % 2",
        "experts": "2 from 2 * (r // 4)",
        "sequences": "share r // 4 of 2",
        "tensor": "share r % 2 of 2",
    }


def test_the_order_of_axes_moves_ranks_and_traffic_and_nothing_else() -> None:
    """Nodes of four: with the pipeline outermost it crosses the fabric, and the experts stay in a node.

    test_report.py reckons the bytes.
    """
    change = compare_plans(explain_text(build_small(DEVICE)), explain_text(TURNED))
    assert change.train == change.cluster == ()
    assert change.placement == (SettingChange("mesh", "ep 2 x pp 2 x tp 2", "pp 2 x ep 2 x tp 2"),)
    assert {each.key: each.after for each in change.assignment} == {
        "stage": "r // 4",
        "experts": "2 from 2 * (r // 2 % 2)",
        "sequences": "share r // 2 % 2 of 2",
    }
    assert all(each.ratio == 1 for each in change.memory)
    bytes = {
        each.name: [each.before and each.before.value, each.after and each.after.value]
        for each in change.traffic
    }
    assert bytes["experts over fabric"] == [20608, None]  # 4 x 2 x (4 x 1280 + 4 x 8) / 2, as reckoned there
    assert bytes["experts over node"] == [None, 20608]
    assert bytes["pipeline over fabric"] == [None, 2560]  # 4 x 640
    step = {each.name: each for each in change.step}
    assert step["step"].ratio is not None
    assert step["step"].ratio < 1  # the all-to-all has the faster links now
    assert step["bubble"].ratio == 1


def test_half_of_the_tensor_ranks_hold_twice_as_much() -> None:
    """tp 2 -> 1 on four devices: attention and tables whole; norms and routers were whole before."""
    whole = (
        build_small(DEVICE)
        .replace("pp: 2, tp: 2", "pp: 2, tp: 1")
        .replace("fabric: 2, node: 4", "fabric: 2, node: 2")
    )
    change = compare_plans(explain_text(build_small(DEVICE)), explain_text(whole))
    held = next(each for each in change.memory if each.name == "parameters")
    assert held.before is not None
    assert held.after is not None
    assert (held.before.value, held.after.value) == (
        4 * (256 + 32 + 64 + 1536 + 128 + 8),
        4 * (512 + 32 + 64 + 1536 + 256 + 8),
    )
    assert SettingChange("levels", "fabric 2 x node 4", "fabric 2 x node 2") in change.cluster


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("microbatches = 4", "microbatches = 8", SettingChange("batch.microbatches", "4", "8")),
        ("length = 10 ", "length = 20 ", SettingChange("batch.length", "10", "20")),
        ("model = moe\n", "model = moe, seed = 7\n", SettingChange("seed", "0", "7")),
        (
            "model = moe\n",
            "model = moe\n  optimizer = adamw { lr = 1e-2 }\n",
            SettingChange("optimizer.lr", "0.0003", "0.01"),
        ),
        ("top_k = 2", "top_k = 1", SettingChange("model.shape.top_k", "2", "1")),
        ('"moe.py:M"', '"moe.py:N"', SettingChange("model.source", "moe.py:M", "moe.py:N")),
        ("  shape {", "  arguments { dim = 8 }\n  shape {", SettingChange("model.arguments.dim", "-", "8")),
    ],
)
def test_another_training_run_is_called_one(old: str, new: str, said: SettingChange) -> None:
    text = build_small().replace("length = 10,", "length = 10 ,")
    assert old in text
    assert compare_plans(explain_text(text), explain_text(text.replace(old, new))).train == (said,)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("train first", "train other"),
        ("for first", "for other"),
        ("model moe", "model moe"),
        ("[2, 2]", "[1, 3]"),
    ],
)
def test_names_and_places_change_nothing_that_is_computed(old: str, new: str) -> None:
    text = build_small().replace(old, new)
    text = text.replace("train first", "train other").replace("for first", "for other")
    assert compare_plans(explain_text(build_small()), explain_text(text)).train == ()


@pytest.mark.parametrize(
    ("second", "same"), [("def M(): ...", True), ("def M(): return 1", False), (None, True)]
)
def test_models_of_one_name_in_two_folders_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], second: str | None, same: bool
) -> None:
    files = []
    for name, code in (("a", "def M(): ..."), ("b", second)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "plan.parc").write_text(build_small())
        if code:
            (tmp_path / name / "moe.py").write_text(code)
        files.append(str(tmp_path / name / "plan.parc"))
    assert cli.main(["diff", *files, "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["same"] is same
    if not same:
        assert [each["key"] for each in told["train"]] == ["model.source"]


TOLD = """\
wide -> tall
  the same training run: both plans compute the same numbers, up to rounding

PLACEMENT
        before              after
  mesh  ep 2 x pp 2 x tp 2  pp 2 x ep 2 x tp 2

ASSIGNMENT  of rank r
             before               after
  stage      r // 2 % 2           r // 4
  experts    2 from 2 * (r // 4)  2 from 2 * (r // 2 % 2)
  sequences  share r // 4 of 2    share r // 2 % 2 of 2
"""


def test_as_typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plans.parc"
    head, _, body = build_small(DEVICE).partition("plan small")
    turned = body.replace("[ep: 2, pp: 2, tp: 2]", "[pp: 2, ep: 2, tp: 2]")
    file.write_text(f"{head}plan wide{body}plan tall{turned}")
    assert cli.main(["diff", str(file), "--plans", "wide", "tall"]) == 0
    told = capsys.readouterr().out
    assert told.partition("\nTRAFFIC")[0] == TOLD
    assert cli.main(["diff", str(file), "--plans", "wide", "wide"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "  nothing differs"
    assert cli.main(["diff", str(file), str(file)]) == 1
    assert "its plans are `wide`, `tall`" in capsys.readouterr().out


def test_another_run_is_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = tmp_path / "one.parc", tmp_path / "other.parc"
    one.write_text(build_small(DEVICE))
    other.write_text(build_small(DEVICE).replace("sequences = 16", "sequences = 32"))
    assert cli.main(["diff", str(one), str(other)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"small ({one}) -> small ({other})"
    assert told[1].startswith("  DIFFERENT TRAINING RUNS")
    assert "  batch.sequences  16      32" in told
    assert any(line.startswith("  peak") and "%" in line for line in told)


def test_faults_and_absent_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.parc", tmp_path / "bad.parc"
    good.write_text(build_small())
    bad.write_text(build_small().replace("[2, 2]", "[2, 3]"))
    assert cli.main(["diff", str(good), str(bad)]) == 1
    assert "error[P212]" in capsys.readouterr().out
    assert cli.main(["diff", str(tmp_path / "none.parc"), str(good)]) == 2
