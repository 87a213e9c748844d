"""Processes: whatever ends a run ends all of it, soon, and says why."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from parc.runtime.process import launch as processes
from parc.runtime.process.connect import choose_device
from parc.runtime.process.launch import RankFailed, launch, spawn
from parc.runtime.topology import Topology

SOON = 10.0  # s; far below any time-out of a collective, far above what it takes on a busy machine


def failure(world: int, target: Callable[[], None]) -> RankFailed:
    start = time.monotonic()
    with pytest.raises(RankFailed) as caught:
        spawn(world, target)
    assert time.monotonic() - start < SOON
    return caught.value


def wait_for_others() -> None:
    dist.all_reduce(torch.ones(1))


def test_every_rank_runs_in_one_group_with_its_share_of_the_cores(ranks) -> None:
    def work() -> tuple[float, str, str]:
        total = torch.tensor(float(dist.get_rank()))
        dist.all_reduce(total)
        return total.item(), os.environ["RANK"], os.environ["WORLD_SIZE"]

    assert ranks(4, work) == [(6.0, str(rank), "4") for rank in range(4)]


def test_the_rank_that_failed_is_named_not_those_that_lost_it() -> None:
    def work() -> None:
        wait_for_others()
        if dist.get_rank() == 2:
            raise LookupError("the third rank's own trouble")
        wait_for_others()

    error = failure(4, work)
    assert error.rank == 2
    assert error.report.strip().endswith("LookupError: the third rank's own trouble")
    assert str(error).startswith("rank 2 failed:\nTraceback")


def test_ranks_that_do_not_notice_are_stopped() -> None:
    def work() -> None:
        if dist.get_rank() == 0:
            raise LookupError("trouble")
        time.sleep(600)

    assert failure(3, work).rank == 0


def test_a_rank_killed_without_a_word_is_named_before_those_that_lost_it() -> None:
    def work() -> None:
        wait_for_others()
        if dist.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        wait_for_others()

    error = failure(4, work)
    assert (error.rank, "SIGKILL" in error.report) == (1, True)


def test_what_a_killed_run_has_left_is_removed_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def list_folders() -> list[str]:
        return sorted(each.name for each in tmp_path.glob("ranks-*"))

    started, start = os.pipe()
    parent = os.fork()
    if parent == 0:
        try:
            spawn(2, lambda: (os.write(start, b"x"), time.sleep(600)))
        finally:
            os._exit(0)
    os.read(started, 1)
    (first,) = list_folders()
    spawn(1, lambda: None)
    assert list_folders() == [first], "a run that goes on keeps its folder"
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    deadline = time.monotonic() + 20
    while list_folders() and time.monotonic() < deadline:  # its ranks end after it
        spawn(1, lambda: None)
    assert list_folders() == []


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parent that looks at its ranks only when all of them have ended."""
    watch = processes._watch
    monkeypatch.setattr(processes, "_watch", lambda ranks: (time.sleep(0.6), watch(ranks)))


@pytest.mark.parametrize("cause", [0, 1, 2])
def test_of_many_failures_the_first_is_the_one_named(late, cause: int) -> None:
    def work() -> None:
        time.sleep(0.0 if dist.get_rank() == cause else 0.2)
        raise LookupError("trouble")

    assert failure(3, work).rank == cause


@pytest.mark.parametrize("cause", [0, 1, 2])
def test_of_many_failures_a_death_without_a_word_is_the_first(late, cause: int) -> None:
    def work() -> None:
        if dist.get_rank() == cause:
            os.kill(os.getpid(), signal.SIGKILL)
        raise LookupError("trouble")

    assert failure(3, work).rank == cause


def test_a_rank_that_leaves_with_a_status_has_failed() -> None:
    assert "exit status 3" in failure(2, lambda: os._exit(3)).report
    assert failure(2, lambda: sys.exit("refused")).report.endswith("SystemExit: refused\n")


def test_a_long_report_arrives_whole(late) -> None:
    def work() -> None:
        if dist.get_rank() == 0:
            raise LookupError("x" * 1_000_000)
        time.sleep(0.1)
        raise LookupError("later, and sooner told")

    assert len(failure(2, work).report) > 1_000_000


def test_a_parent_that_has_computed_with_threads_can_still_fork() -> None:
    torch.set_num_threads(2)
    torch.ones(512, 512) @ torch.ones(512, 512)  # starts OpenMP's pool, which no child inherits

    def work() -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(5)  # a child that waited for the pool would wait for ever
        assert (torch.ones(512, 512) @ torch.ones(512, 512)).sum() == 512**3

    spawn(1, work)


def test_the_groups_of_a_mesh_have_the_time_out_of_the_run() -> None:
    def work() -> None:
        topology = Topology.build({"a": 2, "b": 2}, timeout=timedelta(seconds=1))
        if dist.get_rank() != 1:
            time.sleep(2 * SOON)
        dist.all_reduce(torch.ones(1), group=topology.mesh.get_group("b"))  # rank 0 does not join

    assert failure(4, work).rank == 1


SCRIPT = """
import sys, time, os
import torch.distributed as dist
from parc.runtime.process.launch import spawn

def work():
    dist.barrier()
    os.write(1, f"{os.getpid()}\\n".encode())
    if sys.argv[1] == "fail" and dist.get_rank() == 2:
        raise LookupError("trouble")
    try:
        time.sleep(600)
    finally:
        os.write(2, b"interrupted")

spawn(3, work)
"""


@contextmanager
def program(tmp_path: Path, mode: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A program that has spawned 3 ranks, in a session of its own, and the process ids of the ranks."""
    script = tmp_path / "program.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script), mode],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        children = [int(process.stdout.readline()) for _ in range(3)]
        yield process, children
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def assert_gone(children: list[int]) -> None:
    deadline = time.monotonic() + SOON
    while alive := [child for child in children if Path(f"/proc/{child}").exists()]:
        assert time.monotonic() < deadline, f"still there: {alive}"
        time.sleep(0.02)


def test_a_failed_program_prints_the_cause_first_and_exits_with_1(tmp_path: Path) -> None:
    with program(tmp_path, "fail") as (process, children):
        _, errors = process.communicate(timeout=SOON)
        assert process.returncode == 1
        shown = [line for line in errors.splitlines() if "NumPy" not in line and "_conversion" not in line]
        assert shown[0] == "rank 2 failed:"
        assert shown[-1] == "LookupError: trouble"
        assert_gone(children)


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)],
)
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills the children of a killed parent")
def test_no_rank_outlives_its_parent(tmp_path: Path, number: signal.Signals, status: int) -> None:
    with program(tmp_path, "wait") as (process, children):
        process.send_signal(number)
        assert process.wait(timeout=SOON) == status
        assert_gone(children)


def test_a_terminals_ctrl_c_reaches_all_and_says_nothing(tmp_path: Path) -> None:
    with program(tmp_path, "wait") as (process, children):
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=SOON)
        assert process.returncode == 130
        assert not re.search("Traceback|failed|interrupted", errors)
        assert_gone(children)


def test_the_callers_signal_handlers_are_back_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    spawn(1, lambda: None)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment torchrun gives to the only rank of a run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "LOCAL_WORLD_SIZE": 1}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(port))


def test_under_torchrun_this_process_is_a_rank(torchrun) -> None:
    seen = []
    threads = torch.get_num_threads()
    launch(1, lambda: seen.append((os.getpid(), dist.get_world_size())), timeout=60)
    torch.set_num_threads(threads)
    assert seen == [(os.getpid(), 1)]
    assert not dist.is_initialized()


def test_another_number_of_ranks_than_the_plans_is_refused(torchrun) -> None:
    with pytest.raises(SystemExit, match="the plan has 8 ranks, torchrun started 1"):
        launch(8, lambda: None, timeout=60)
    assert not dist.is_initialized()


@pytest.mark.parametrize(
    ("gpus", "ranks", "requested", "device"),
    [(0, 8, None, "cpu"), (8, 8, None, "cuda"), (8, 2, None, "cuda"), (8, 16, "cpu", "cpu")],
)
def test_the_device_is_the_gpu_where_there_are_enough(monkeypatch, gpus, ranks, requested, device) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert choose_device(ranks, requested) == device


@pytest.mark.parametrize(("gpus", "requested"), [(4, None), (0, "cuda")])
def test_fewer_gpus_than_ranks_are_refused(monkeypatch, gpus, requested) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(
        SystemExit, match=f"8 ranks need a GPU each and this machine has {gpus}: use --device cpu"
    ):
        choose_device(8, requested)
