"""`parc verify` as a user meets it: what it prints, how it exits, edited folders, refusals."""

from __future__ import annotations

import json
import re
import shlex
from inspect import cleandoc
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from parc.check.pages import list_rules
from parc.check.registry import Rule
from parc.cli import main
from parc.verify import ladder

from .plans import EXAMPLES, MODELS
from .test_divergence import line

pytestmark = pytest.mark.usefixtures("no_process_left")

RETURN = "        return total.sqrt()"  # the gradient norm
RANK = "        if dist.get_rank() == {}:\n"
PLAN = """
plan p for moe_run on c {
  mesh = [ep: 2]
  data    over [ep]
  experts over [ep]
}
"""


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """A plan of two ranks, beside its model."""
    for name in ("moe.py", "classic.py"):
        (tmp_path / name).write_text((EXAMPLES / name).read_text())
    file = tmp_path / "plan.parc"
    file.write_text(f"{MODELS}cluster c {{ levels = [node: 2] }}{PLAN}")
    return file


@pytest.fixture
def folder(plan: Path) -> Path:
    """Its program."""
    out = plan.parent / "program"
    assert main(["build", str(plan), "-o", str(out)]) == 0
    return out


def edit(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1))


def test_a_right_plan_is_proved_rung_by_rung(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(plan)]) == 0
    out = capsys.readouterr().out
    heads = [text.split()[:2] for text in out.splitlines() if text[0] != " "]
    assert heads[:3] == [["matching", "proved"], ["numbers", "proved"], ["fp32", "proved"]]
    assert out.splitlines()[-1].startswith("proved: matching, numbers, fp32, in ")
    assert "the plan's whole mesh: 2 ranks as ep 2" in out
    assert "gets none in microbatch" in out  # an expert is really empty


def test_json_has_every_rung_and_what_it_compared(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(plan), "p", "--rungs", "matching", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["version", "plan", "verdict", "seconds", "rungs"]
    assert (found["version"], found["plan"], found["verdict"]) == (1, "p", "proved")
    (rung,) = found["rungs"]
    assert list(rung) == ["name", "verdict", "compared", "findings", "seconds"]
    assert (rung["name"], rung["verdict"], rung["findings"]) == ("matching", "proved", [])
    assert "2 ranks" in rung["compared"][0]


def test_a_wrong_edit_is_refuted_at_its_line(
    folder: Path, plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "        return x + out, balance"
    edit(folder, "model.py", text, f"        # halved\n{text.replace('x + out', 'x + out / 2')}")
    command = ["verify", str(plan), "--rungs", "numbers", "--folder", str(folder), "--format", "json"]
    assert main(command) == 1
    found = json.loads(capsys.readouterr().out)
    (finding,) = found["rungs"][0]["findings"]
    assert finding["message"].startswith(
        "output 1 of `layers.1` differs first: step 0, microbatch 0, ranks 0-1"
    )
    assert finding["file"] == "model.py"
    assert finding["line"] in (here := line(folder, "model.py", "# halved"), here + 1)


def test_a_harmless_edit_is_proved(folder: Path, plan: Path) -> None:
    text = "        return x + out, balance"
    edit(folder, "model.py", text, text.replace("x + out", "out + x"))
    assert main(["verify", str(plan), "--rungs", "numbers", "--folder", str(folder)]) == 0


def test_an_edit_that_leaves_a_collective_out_is_refuted_by_matching(
    folder: Path, plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(
        folder,
        "model.py",
        "        share = all_reduce(share, self.ep,",
        "        # share = all_reduce(share, self.ep,",
    )
    assert main(["verify", str(plan), "--folder", str(folder)]) == 1
    out = capsys.readouterr().out
    here = line(folder, "model.py", "# share = all_reduce")
    assert f"model.py:{here}: an operation is missing on ranks 0-1" in out
    assert "numbers" not in out.splitlines()[-1]  # the first refutation is the last rung


def test_an_edited_size_is_not_provable_and_the_reason_reported(
    folder: Path, plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(folder, "train.py", "sequences=16", "sequences=24")
    assert main(["verify", str(plan), "--rungs", "numbers", "--folder", str(folder)]) == 2
    assert "the edit at train.py:" in capsys.readouterr().out


def test_a_hang_ends_within_its_time_out(
    folder: Path, plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    receives = f"{RANK.format(0)}            dist.recv(total, 1, self.mesh.get_group('ep'))\n"
    edit(folder, "runtime/gradients.py", RETURN, receives + RETURN)
    command = ["verify", str(plan), "--rungs", "numbers", "--folder", str(folder), "--timeout", "5"]
    assert main(command) == 1
    out = capsys.readouterr().out
    here = line(folder, "runtime/gradients.py", "dist.recv")
    assert "the program hangs: a step was not done after 5 s" in out
    assert f"rank 0 waits in `recv` at runtime/gradients.py:{here}" in out


@pytest.mark.parametrize(
    ("leaves", "status"),
    [
        ("sys.exit()", "0, as if it had succeeded"),
        ("os._exit(0)", "0, as if it had succeeded"),
        ("os._exit(3)", "3"),
    ],
)
def test_a_rank_that_exits_while_it_is_recorded_is_reported(
    leaves: str, status: str, folder: Path, plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave = f"        import os, sys\n{RANK.format(1)}            {leaves}\n"
    edit(folder, "runtime/gradients.py", RETURN, leave + RETURN)
    command = ["verify", str(plan), "--rungs", "matching", "--folder", str(folder), "--format", "json"]
    assert main(command) == 1
    (rung,) = json.loads(capsys.readouterr().out)["rungs"]
    (finding,) = rung["findings"]
    where = "the program does not come to the end of a step on rank 1"
    assert finding["message"] == f"{where}: it ends by itself with exit status {status}"
    assert (finding["file"], finding["line"]) == (
        "runtime/gradients.py",
        line(folder, "runtime/gradients.py", leaves if "sys" in leaves else "import os, sys"),
    )


def test_a_kill_from_outside_is_no_difference(
    folder: Path, plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kill = f"{RANK.format(1)}            __import__('os').kill(__import__('os').getpid(), 9)\n"
    edit(folder, "runtime/gradients.py", RETURN, kill + RETURN)
    assert main(["verify", str(plan), "--rungs", "numbers", "--folder", str(folder)]) == 2
    out = capsys.readouterr().out
    assert "rank 1 was ended by signal SIGKILL" in out
    assert "differs" not in out


def test_a_fault_of_parc_itself_refutes_nothing(
    plan: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object, **__: object) -> NoReturn:
        raise ZeroDivisionError("float division by zero")

    monkeypatch.setattr(ladder, "prove_matching", fails)
    assert main(["verify", str(plan), "--rungs", "matching"]) == 2
    assert "an error of parc: ZeroDivisionError: float division by zero" in capsys.readouterr().out


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "1e9"])
def test_a_step_may_take_up_to_a_day(seconds: str, plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(plan), f"--timeout={seconds}"]) == 2
    assert "error[P621]" in capsys.readouterr().out


def spoken(rule: Rule, heading: str) -> list[str]:
    """The command line of a page's example."""
    (line,) = cleandoc(rule.prose).split(f"## {heading}\n\n")[1].split("\n\n")[0].strip().splitlines()
    return shlex.split(line)[1:]


RULES = [rule for rule in list_rules() if "P620" <= rule.code < "P640"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_the_example_of_a_page_is_refused_and_its_cure_proved(
    rule: Rule,
    folder: Path,
    plan: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder.parent)
    assert main(spoken(rule, "Example")) == 2
    assert f"error[{rule.code}]" in capsys.readouterr().out
    assert main(spoken(rule, "Instead")) == 0


@pytest.mark.parametrize(
    ("arguments", "code"), [(["no_such_plan"], "P118"), (["--set", "moe_run.batch.sequences=15"], "P208")]
)
def test_what_cannot_be_built_is_refused_with_its_diagnostics(
    arguments: list[str], code: str, plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(plan), *arguments]) == 2
    assert f"error[{code}]" in capsys.readouterr().out


def test_a_folder_of_another_plan_is_refused(
    folder: Path, plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan.write_text(plan.read_text().replace("seed = 3", "seed = 4"))
    assert main(["verify", str(plan), "--folder", str(folder), "--format", "json"]) == 2
    assert [each["code"] for each in json.loads(capsys.readouterr().out)["diagnostics"]] == ["P623"]


def test_a_model_that_cannot_be_loaded_is_refused(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (plan.parent / "moe.py").write_text("raise RuntimeError('no model today')\n")
    assert main(["verify", str(plan)]) == 2
    assert "no model today" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("gpus", "reason"),
    [
        (0, "there is no GPU that torch can use"),
        (1, "2 ranks need a GPU each and this machine has 1"),
    ],
)
def test_gpus_that_are_not_there_are_not_provable(
    gpus: int,
    reason: str,
    plan: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert main(["verify", str(plan), "--rungs", "bf16", "--device", "cuda"]) == 2
    assert reason in capsys.readouterr().out


def test_bfloat16_is_proved_on_the_cpu_as_it_would_be_on_gpus(
    plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(plan), "--rungs", "bf16"]) == 0
    out = capsys.readouterr().out
    assert "of one step against float64" in out
    flips, choices = re.findall(r"reference replayed: (\d+) of (\d+) choices would differ", out)[0]
    assert 0 <= int(flips) < int(choices) / 10


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("file", ["quickstart.parc", "seed.parc"])
def test_the_examples_are_proved(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(EXAMPLES / file)]) == 0, capsys.readouterr().out
