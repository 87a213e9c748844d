"""Running what was built: by itself, by torchrun and by `parc run`, to its end, its failure or Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from parc.verify.execution.trainer import forget_modules
from tests.build.projects import ALL, Project

ROOT = Path(__file__).parents[2]
SOON = 20.0  # seconds; a rank that waits for another one would wait for ten minutes


def environment(**more: str) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **more}


def parc_run(project: Project, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "parc", "run", str(project.folder / "plan.parc"), *arguments]


def train(project: Project, out: Path, *arguments: str) -> list[str]:
    return [
        sys.executable,
        "train.py",
        *("--base", str(project.folder), "--out", str(out), "--device", "cpu"),
        *arguments,
    ]


def done(command: list[str], cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env=environment(**more), capture_output=True, text=True, timeout=120, check=False
    )


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def figures(small: Project, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    """Of two steps of the command that `README.md` gives, in its folder; the data lie beside the plan."""
    out = tmp_path_factory.mktemp("plain")
    readme = (small.out / "README.md").read_text()
    (command,) = re.findall(r"^    python (train\.py .*)$", readme, flags=re.MULTILINE)
    assert command == "train.py --base .."
    options = ["--out", str(out), "--device", "cpu", "--steps", "2"]
    finished = done([sys.executable, *command.split(), *options], small.out)
    assert finished.returncode == 0, finished.stderr
    return metrics(out)


def test_a_line_of_metrics_a_step(figures: list[dict[str, float]]) -> None:
    assert [line["step"] for line in figures] == [0, 1]
    for line in figures:
        assert {"loss", "grad_norm", "lr", "tokens_per_second", "expert_load"} <= set(line)
        assert line["tokens_per_second"] > 0
    assert "mfu" not in figures[0]  # the plan tells no peak


def test_torchrun_trains_to_the_same_losses(
    small: Project, figures: list[dict[str, float]], tmp_path: Path
) -> None:
    command = [
        "bash",
        "launch/torchrun.sh",
        "--steps",
        "2",
        "--base",
        str(small.folder),
        "--out",
        str(tmp_path),
    ]
    finished = done([*command, "--device", "cpu"], small.out, MASTER_PORT=free_port(), OMP_NUM_THREADS="1")
    assert finished.returncode == 0, finished.stderr
    for mine, other in zip(metrics(tmp_path), figures, strict=True):
        for name in ("loss", "grad_norm"):  # the number of threads changes the order of sums in fp32
            assert mine[name] == pytest.approx(other[name], rel=1e-5)


def free_port() -> str:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def test_parc_run_trains_to_the_same_losses(
    small: Project, figures: list[dict[str, float]], tmp_path: Path
) -> None:
    command = parc_run(small, "--device", "cpu", "--steps", "2", "--out", str(tmp_path))
    finished = done(command, tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert [line["loss"] for line in metrics(tmp_path)] == [line["loss"] for line in figures]
    assert "loss" in finished.stderr + finished.stdout


def test_a_faulty_plan_does_not_run(tmp_path: Path) -> None:
    project = Project(tmp_path / "project").model("class Net(", "1 / 0\n\n\nclass Net(")
    project.write()
    finished = done(parc_run(project, "--device", "cpu"), tmp_path)
    assert finished.returncode == 1
    assert "error[P501]" in finished.stdout
    assert "Traceback" not in finished.stdout + finished.stderr


def test_fewer_gpus_than_ranks_are_refused(small: Project, tmp_path: Path) -> None:
    """Never shared, never replaced by the CPU in silence."""
    finished = done(parc_run(small, "--device", "cuda", "--steps", "1"), tmp_path, CUDA_VISIBLE_DEVICES="")
    assert finished.returncode != 0
    assert "4 ranks need a GPU each and this machine has 0" in finished.stderr
    assert "--device cpu" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_data_that_is_not_there(small: Project, tmp_path: Path) -> None:
    begun = time.monotonic()
    finished = done(train(small, tmp_path, "--data", "none.txt"), small.out)
    assert time.monotonic() - begun < SOON
    assert finished.returncode == 1
    last = finished.stderr.splitlines()[-1]
    assert last == f"error: no file matches 'none.txt' in {small.folder} (--base)"
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize(
    "options", [["--steps", "-3"], ["--lr", "nan"], ["--timeout", "0"], ["--base", "/none"]], ids=" ".join
)
def test_options_that_make_no_sense_are_errors_of_use(small: Project, options: list[str]) -> None:
    with imported_train(small.out) as program, pytest.raises(SystemExit) as refused:
        program.parse_arguments(options)
    assert refused.value.code == 2


@contextmanager
def imported_train(folder: Path) -> Iterator[Any]:
    """The module `train` of a program."""
    forget_modules({path.stem for path in folder.iterdir()})
    sys.path.insert(0, str(folder))
    try:
        yield import_module("train")
    finally:
        sys.path.remove(str(folder))
        forget_modules({path.stem for path in folder.iterdir()})


def test_a_failing_rank_ends_the_run_with_its_own_error_first(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", ALL, 4)
    assert project.build() == ()
    stage = project.out / "stage_1.py"
    source = stage.read_text()
    head = source.index("    def forward(", source.index("class Stage("))
    body = source.index("\n", head) + 1
    guilty = """\
        from torch.distributed import get_rank
        if get_rank() == 3:
            raise ValueError("rank three is ill")
"""
    stage.write_text(source[:body] + guilty + source[body:])
    begun = time.monotonic()
    finished = done(train(project, tmp_path / "runs"), project.out)
    assert time.monotonic() - begun < SOON
    assert finished.returncode == 1
    assert finished.stderr.index("rank 3 failed") < finished.stderr.index("rank three is ill")
    assert "rank 0 failed" not in finished.stderr


# Ctrl-C

LONG = ("--steps", "100000")


@contextmanager
def started(command: list[str], cwd: Path, out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run that has come to its first step, in a session of its own."""
    with (out / "said").open("wb") as said:
        run = subprocess.Popen(
            command, cwd=cwd, env=environment(), stdout=said, stderr=said, start_new_session=True
        )
        try:
            written = out / "metrics.jsonl"
            for _ in range(600):
                if written.exists() and written.stat().st_size:
                    break
                assert run.poll() is None, (out / "said").read_text()
                time.sleep(0.1)
            yield run
        finally:
            for pid in in_session(run.pid):
                os.kill(pid, signal.SIGKILL)
            run.wait()


def in_session(session: int) -> list[int]:
    """The processes of a session, whoever their parents are, as /proc knows them; zombies are gone."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    ("how", "whom"), [("train", "group"), ("train", "parent"), ("parc run", "group"), ("parc run", "parent")]
)
def test_ctrl_c_leaves_no_process_behind(small: Project, tmp_path: Path, how: str, whom: str) -> None:
    """A terminal signals the whole group; a supervisor the one process that it has started."""
    arguments = ("--out", str(tmp_path), *LONG)
    plain = train(small, tmp_path, *LONG)
    command = plain if how == "train" else parc_run(small, "--device", "cpu", *arguments)
    with started(command, small.out, tmp_path) as run:
        assert len(in_session(run.pid)) >= 5  # the parent and four ranks
        os.killpg(run.pid, signal.SIGINT) if whom == "group" else os.kill(run.pid, signal.SIGINT)
        assert run.wait(timeout=SOON) == 130
        time.sleep(0.5)
        assert in_session(run.pid) == []
    assert "Traceback" not in (tmp_path / "said").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_killing_parc_run_ends_its_program(small: Project, tmp_path: Path) -> None:
    command = parc_run(small, "--device", "cpu", "--out", str(tmp_path), *LONG)
    with started(command, small.out, tmp_path) as run:
        os.kill(run.pid, signal.SIGKILL)
        run.wait(timeout=SOON)
        for _ in range(50):
            if not in_session(run.pid):
                break
            time.sleep(0.1)
        assert in_session(run.pid) == []


# torchrun


def torchrun(project: Project, out: Path, *arguments: str) -> list[str]:
    options = ("--base", str(project.folder), "--out", str(out), "--device", "cpu")
    return ["bash", str(project.out / "launch" / "torchrun.sh"), *options, *arguments]


def list_ranks(agent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{agent}/task/{agent}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("rank", [0, 3])
def test_torchrun_restarts_ranks_after_one_is_killed(
    small: Project, tmp_path: Path, rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store of the rendezvous has the addresses of the ranks that are gone."""
    for name, value in {"MAX_RESTARTS": "1", "MASTER_PORT": free_port(), "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    with started(torchrun(small, tmp_path, "--steps", "40"), small.out, tmp_path) as run:
        os.kill(list_ranks(run.pid)[rank], signal.SIGKILL)
        assert run.wait(timeout=120) == 0, (tmp_path / "said").read_text()
    steps = [line["step"] for line in metrics(tmp_path)]
    again = steps.index(0, 1)
    assert steps[:again] == list(range(again))
    assert steps[again:] == list(range(40))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills the children of a killed parent")
def test_no_rank_outlives_the_agent_of_torchrun(
    small: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASTER_PORT", free_port())
    with started(torchrun(small, tmp_path, *LONG), small.out, tmp_path) as run:
        ranks = list_ranks(run.pid)  # which torchrun puts in sessions of their own
        assert len(ranks) == 4
        os.kill(run.pid, signal.SIGKILL)
        run.wait(timeout=SOON)
        for _ in range(50):
            if not (left := [rank for rank in ranks if Path(f"/proc/{rank}").exists()]):
                break
            time.sleep(0.1)
        for rank in left:
            os.kill(rank, signal.SIGKILL)
        assert left == []


@pytest.fixture(scope="module")
def ill(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A program whose rank 3 hangs, or computes what is not a number, as the environment says."""
    project = Project(tmp_path_factory.mktemp("ill") / "project", ALL, 4)
    assert project.build() == ()
    stage = project.out / "stage_1.py"
    loss = "        logits = self.head(x)\n"
    guilty = """\
        import os, time
        if os.environ["RANK"] == "3" and "HANGS" in os.environ:
            time.sleep(600)
        if os.environ["RANK"] == "3":
            x = x * float("nan")
"""
    assert stage.read_text().count(loss) == 1
    stage.write_text(stage.read_text().replace(loss, guilty + loss))
    return project


@pytest.mark.slow
@pytest.mark.parametrize("how", ["train", "torchrun"])
def test_a_rank_that_hangs_is_named_within_the_stated_time(ill: Project, tmp_path: Path, how: str) -> None:
    options = ("--timeout", "8", "--steps", "3")
    command = (train if how == "train" else torchrun)(ill, tmp_path, *options)
    begun = time.monotonic()
    finished = done(command, ill.out, HANGS="", MASTER_PORT=free_port(), OMP_NUM_THREADS="1")
    assert time.monotonic() - begun < 8 + 2 * SOON
    assert finished.returncode == 1
    assert "step 0 was not done after 8 s (--timeout): rank 3 hangs" in finished.stderr
    assert re.search(r"rank 3: running stage_1\.py:\d+ in `forward`: `time\.sleep\(600\)`", finished.stderr)
    assert re.search(r"rank 1: waiting in `all_to_all_single` at model\.py:\d+", finished.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["train", "torchrun"])
def test_what_is_not_finite_ends_the_run(ill: Project, tmp_path: Path, how: str) -> None:
    command = (train if how == "train" else torchrun)(ill, tmp_path, "--steps", "3")
    finished = done(command, ill.out, MASTER_PORT=free_port(), OMP_NUM_THREADS="1")
    assert finished.returncode == 1
    assert "step 0 is not finite: the loss is nan and the gradient norm is nan" in finished.stderr
    assert "  rank 3: the loss of microbatch 0, the loss of microbatch 1" in finished.stderr
    assert metrics(tmp_path) == []
