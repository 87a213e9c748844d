"""A run that hangs: it ends in time, and names the rank that hangs, its operation and its line."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist

from parc.runtime.process import stacks, watchdog
from parc.runtime.process.launch import RankFailed, spawn
from parc.runtime.process.stacks import Activity, describe_hang, find_guilty
from parc.runtime.process.watchdog import WATCHDOG
from tests.timing import measure_slowness

SOON = 30.0  # seconds; ten minutes pass before a collective gives up


def report(world: int, work: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> str:
    """What a run says whose steps may take a second."""
    monkeypatch.setattr(watchdog, "ANSWERS_WITHIN", 2.0)
    begun = time.monotonic()
    with pytest.raises(RankFailed) as caught:
        spawn(world, work, watch=measure_slowness())
    assert time.monotonic() - begun < SOON
    return str(caught.value)


def sum_up() -> None:
    dist.all_reduce(torch.ones(1))


def test_a_rank_that_hangs_in_the_program_is_named_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "FOLDER", stacks.Path(__file__).parent)

    def work() -> None:
        WATCHDOG.restart("step 7")
        if dist.get_rank() == 1:
            time.sleep(600)
        sum_up()

    head, guilty, waiting = report(3, work, monkeypatch).splitlines()
    assert head.startswith("step 7 was not done after ")
    assert head.endswith("(--timeout): rank 1 hangs")
    assert guilty.startswith("  rank 1: running test_watchdog.py:")
    assert guilty.endswith("in `work`: `time.sleep(600)`")
    assert waiting.startswith("  ranks 0 and 2: waiting in `all_reduce` at test_watchdog.py:")
    assert waiting.endswith("in `sum_up`: `dist.all_reduce(torch.ones(1))`")


def test_a_rank_that_is_stopped_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        if dist.get_rank() == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
        sum_up()

    head, guilty, _ = report(2, work, monkeypatch).splitlines()
    assert head.startswith("the start of the program was not done after ")
    assert head.endswith("rank 0 hangs")
    assert guilty == "  rank 0: no answer: stopped, or held up outside of Python"


def test_steps_that_come_to_their_end_in_time_are_left_alone() -> None:
    def work() -> None:
        for step in range(6):
            WATCHDOG.restart(f"step {step}")
            time.sleep(0.3)
            sum_up()

    spawn(2, work, watch=measure_slowness())


ALL = (0, 1, 2, 3)


def waiting(operation: str, *peers: int) -> Activity:
    return Activity(operation, peers, ("model.py:1 in `forward`",), "")


RUNNING = Activity("", (), ("model.py:2 in `forward`",), "")
ELSEWHERE = Activity("", (), ("model.py:3 in `forward`",), "")


@pytest.mark.parametrize(
    ("places", "guilty"),
    [
        ([waiting("all_reduce", *ALL)] * 3 + [RUNNING], [3]),
        ([waiting("all_reduce", *ALL)] * 3 + [None], [3]),
        ([None, RUNNING, waiting("all_reduce", *ALL), waiting("all_reduce", *ALL)], [0, 1]),
        # most wait for their devices, outside of every operation
        ([RUNNING] * 3 + [ELSEWHERE], [3]),
        ([RUNNING] * 2 + [ELSEWHERE] * 2, []),
        ([RUNNING] * 4, []),
        # one has skipped what the others are in
        ([waiting("all_reduce", *ALL)] * 3 + [waiting("broadcast", *ALL)], [3]),
        ([waiting("all_reduce", *ALL)] * 3 + [waiting("all_reduce", 2, 3)], [3]),
        ([waiting("all_reduce", 0, 1), waiting("broadcast", 0, 1)], []),
    ],
)
def test_the_guilty_are_those_that_the_others_wait_for(
    places: list[Activity | None], guilty: list[int]
) -> None:
    assert find_guilty(dict(enumerate(places))) == guilty


def test_many_ranks_at_one_place_are_one_line() -> None:
    places: dict[int, Activity | None] = dict.fromkeys(range(128), waiting("all_reduce", *range(128)))
    head, guilty, others = describe_hang({**places, 77: None}).splitlines()
    assert head == "rank 77 hangs"
    assert guilty.startswith("  rank 77: no answer")
    assert others.startswith("  ranks 0, 1, 2, 3, 4, 5, 6, 7, .. (127 in all): waiting in `all_reduce` at ")
