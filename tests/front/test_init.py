"""`parc init`: a first plan that checks clean."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest

from parc import load
from parc.check.load import load_text
from parc.check.unsupported import find_unsupported
from parc.cli import main
from parc.cost.job.from_plan import derive_job
from parc.cost.memory.parameters import count_model
from parc.cost.memory.peak import predict_memory
from parc.search.config.read import read_config
from parc.source import Source
from tests.search.test_config import DEEPSEEK_MOE, LLAMA, MIXTRAL, OLMOE


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("given", "machine", "devices"),
    [(OLMOE, "h100", 8), (DEEPSEEK_MOE, "a100", 64), (MIXTRAL, "gb200", 144), (LLAMA, "mi300x", 16)],
)
def test_a_plan_for_a_known_model(given: object, machine: str, devices: int, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(given))
    out = tmp_path / "plan.parc"
    arguments = ["--config", str(tmp_path / "config.json"), "--machine", machine, "--devices", str(devices)]

    assert main(["init", *arguments, "-o", str(out)]) == 0
    found = load(out)
    assert found.diagnostics == ()
    (plan,) = found.plans
    assert find_unsupported(plan) == ()
    assert plan.mesh.size == plan.cluster.devices == devices
    cost = derive_job(plan)
    assert cost is not None
    peak = max(predict_memory(cost, rank).peak for rank in range(cost.degrees.pipeline))
    assert peak <= 0.9 * cost.require_hardware().memory


MODELS = [json.loads(line) for line in (Path(__file__).parents[1] / "search" / "models.jsonl").open()]


@pytest.mark.parametrize(
    ("kind", "devices"),
    [
        ("jamba", 32),
        ("deepseek_v2", 16),
        ("kimi_linear", 32),
        ("nemotron_h", 8),
        ("qwen3_5_moe", 32),
    ],
)
def test_a_plan_for_an_uncommon_model_can_be_built(kind: str, devices: int, tmp_path: Path) -> None:
    """Where sequences of the usual length do not fit, they are shorter, and the plan says so."""
    row = next(row for row in MODELS if row["config"]["model_type"] == kind)
    (tmp_path / "config.json").write_text(json.dumps(row["config"]))
    out = tmp_path / "plan.parc"

    assert main(["init", "--config", str(tmp_path), "--devices", str(devices), "-o", str(out)]) == 0
    found = load(out)
    assert found.diagnostics == ()
    (plan,) = found.plans
    assert find_unsupported(plan) == ()
    job = derive_job(plan)
    assert job is not None
    assert count_model(job.architecture) == pytest.approx(row["parameters"], rel=0.001)
    short = plan.train.batch.length < read_config(json.dumps(row["config"])).length
    assert ("sequences have" in out.read_text()) is short


def test_a_plan_that_could_be_faster_is_better_than_none(tmp_path: Path) -> None:
    """A.X K1, of 61 layers, in a layout that moves more between devices than another one would."""
    row = next(row for row in MODELS if row["config"]["model_type"] == "axk1")
    (tmp_path / "config.json").write_text(json.dumps(row["config"]))
    out = tmp_path / "plan.parc"

    sizes = ["--devices", "512", "--sequences", "1024", "--length", "1024"]
    assert main(["init", "--config", str(tmp_path), *sizes, "-o", str(out)]) == 0
    found = load(out)
    assert [each.code for each in found.diagnostics] == ["P325"]
    assert find_unsupported(found.plans[0]) == ()


def test_a_configuration_is_a_file_a_folder_or_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = json.dumps(OLMOE)
    (tmp_path / "config.json").write_text(text)
    told = []
    for source in (tmp_path / "config.json", tmp_path, "-"):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert main(["init", "--config", str(source), "-o", "-"]) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1] == told[2]
    assert load_text(Source("plan.parc", told[0])).diagnostics == ()
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_dense_model_routes_no_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--experts", "0", "--top-k", "2", "-o", str(tmp_path / "plan.parc")]) == 2
    assert capsys.readouterr().err == "parc: `--top-k` and `--experts 0`: a dense model routes no tokens\n"


def test_a_size_contradicts_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(OLMOE))
    arguments = ["--config", str(tmp_path), "--layers", "16", "--top-k", "8", "-o", str(tmp_path / "p.parc")]

    assert main(["init", *arguments]) == 2
    assert capsys.readouterr().err == (
        "parc: `--layers`, `--top-k` and `--config`: the configuration has the sizes of the model\n"
    )


def test_a_small_plan_is_one_that_can_be_built(tmp_path: Path) -> None:
    out = tmp_path / "plan.parc"

    assert main(["init", "--layers", "4", "--experts", "8", "--devices", "8", "-o", str(out)]) == 0
    (plan,) = load(out).plans
    assert find_unsupported(plan) == ()
    assert (plan.train.model.shape.layers, plan.train.model.shape.experts) == (4, 8)


def test_every_head_has_keys_of_its_own_where_nothing_is_said(tmp_path: Path) -> None:
    out = tmp_path / "plan.parc"
    sizes = ["--layers", "8", "--hidden", "512", "--heads", "8"]

    assert main(["init", *sizes, "--machine", "H100", "-o", str(out)]) == 0
    (plan,) = load(out).plans
    assert (plan.train.model.shape.kv_heads, plan.cluster.levels[0].size) == (8, 8)


def test_a_dense_model_has_no_experts(tmp_path: Path) -> None:
    out = tmp_path / "plan.parc"

    assert main(["init", "--experts", "0", "-o", str(out)]) == 0
    (plan,) = load(out).plans
    assert plan.experts is None
    assert plan.train.model.shape.experts is None


def test_it_asks_where_somebody_can_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "plan.parc"
    monkeypatch.setattr("sys.stdin", Terminal("4\n256\n\nmany\n8\n512\n4\n1\n1000\n2\n"))

    assert main(["init", "-o", str(out)]) == 0
    shape = load(out).plans[0].train.model.shape
    sizes = (shape.layers, shape.hidden, shape.heads, shape.kv_heads, shape.ffn, shape.experts, shape.top_k)
    assert (*sizes, shape.vocab) == (4, 256, 16, 8, 512, 4, 1, 1000)  # 16 heads are the usual
    assert load(out).plans[0].cluster.devices == 2


def test_a_hostile_source_stays_a_text(tmp_path: Path) -> None:
    out = tmp_path / "plan.parc"
    source = 'a"b\\c {{ 1 }}.py:M'

    assert main(["init", "--layers", "4", "--source", source, "-o", str(out)]) == 0
    assert load(out).plans[0].train.model.source == source


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["--devices", "12"], 1, "12 devices do not fill whole units: a node of `h100` has 8"),
        (["--devices", "0"], 1, "0 is not between 1"),
        (["--machine", "h1000"], 1, "no hardware `h1000`, only a100, b200"),
        (["--hidden", "65536", "--heads", "2", "--kv-heads", "1"], 1, "GB of a device's 84 GB"),
        (
            ["--sequences", "3", "--layers", "5", "--heads", "1", "--kv-heads", "1"],
            1,
            "its 3 sequences evenly",
        ),
        (["--config", "none.json"], 1, "cannot read `none.json`"),
        (["--source", "a\nb:C"], 1, "one line"),
        (["-o", "none/plan.parc"], 2, "cannot write"),
        (["-o", "."], 2, "exists"),
    ],
)
def test_what_is_refused(
    arguments: list[str],
    code: int,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["init", *arguments]) == code
    assert reason in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "plan.parc"
    out.write_text("mine")

    assert main(["init", "-o", str(out)]) == 2
    assert out.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--devices", "7", "--heads", "7", "--kv-heads", "7", "--hidden", "1000"], "1,000"),
        (["--experts", "128", "--top-k", "200"], "200"),
    ],
)
def test_what_no_layout_can_fix_is_reported(
    arguments: list[str], fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", *arguments, "-o", str(tmp_path / "plan.parc")]) == 1
    told = capsys.readouterr().err
    assert re.search(f"every layout has an error or a warning, the first one: .*{fault}", told)


def test_a_first_plan_trains_in_mixed_precision(tmp_path: Path) -> None:
    out = tmp_path / "plan.parc"
    assert main(["init", "--layers", "4", "--experts", "8", "--devices", "8", "-o", str(out)]) == 0
    text = out.read_text()
    (line,) = [line for line in text.splitlines() if "precision" in line]
    assert line.strip() == "precision { compute = bf16, master = fp32 }"
    assert not find_unsupported(load(out).plans[0])
