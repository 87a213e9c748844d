"""Running all ranks of a program so that its end is understood: a hang, a kill, a fault of its own.

A rank that waits longer than the time-out for the others makes every rank write down where it is, before
anything is stopped. Whatever else ends a run is read off the report of the rank that failed first.
"""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from threading import Timer
from typing import NamedTuple, NoReturn, TextIO

import torch.distributed as dist

from parc.runtime.processes import RankFailed, spawn
from parc.verify.execution.stack_frames import Frame, telling
from parc.verify.numbers.shards import compressed
from parc.verify.numbers.training_step import Unseen
from parc.verify.report import Finding, Verdict

HEARD = 5.0  # seconds in which all ranks may say where they are
SOON = 1.0  # in which a rank has noted that it is late, once its connections have closed
OUTSIDE = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")  # signals that no program sends itself by mistake
FULL = ("out of memory", "allocate memory", "MemoryError", "No space left", "Too many open files")


class Stopped(Exception):
    """A run that has not come to its end: refuted if that is the program's doing."""

    def __init__(self, verdict: Verdict, finding: Finding, *, late: bool = False) -> None:
        super().__init__(finding.message)
        self.verdict, self.finding, self.late = verdict, finding, late


class Call(NamedTuple):
    frame: Frame
    function: str
    own: bool  # whether its file lies in the program's folder


def run(
    world: int,
    folder: Path,
    target: Callable[..., None],
    *args: object,
    timeout: float,
    device: str = "cpu",
) -> None:
    """`spawn` for a target that runs the program in `folder`; `timeout` is of a step, in seconds.

    Raises Stopped where a rank does not come to its end, or leaves before.
    """
    with tempfile.TemporaryDirectory(prefix="parc-") as scratch:
        arguments = (Path(scratch), timeout, target, args)
        try:
            spawn(world, _watched, *arguments, device=device, timeout=timedelta(seconds=timeout))
        except RankFailed as failed:
            raise _stopped(failed, world, folder, Path(scratch), timeout) from failed
        left = [rank for rank in range(world) if not Path(scratch, f"{rank}.done").exists()]
        if left:  # by `os._exit(0)`, say, which looks like success
            who = f"ranks {compressed(left)}" if len(left) > 1 else f"rank {left[0]}"
            raise Stopped("refuted", Finding(f"{who} ended before all steps were done, without a fault"))


@contextmanager
def step(timeout: float) -> Iterator[None]:
    """A step that may take so many seconds, waiting for others included; 0: for ever."""
    _WATCH.begin(timeout)
    yield
    _WATCH.begin(timeout)  # until the next one


class _Watch:
    """A timer beside what a rank does, which may wait where no signal reaches it: gloo's groups wait on."""

    def __init__(self) -> None:
        self.own = Path()  # what it writes, but for the suffix
        self.stack: TextIO | None = None
        self.timer: Timer | None = None

    def begin(self, timeout: float) -> None:
        """From here on there is so much time."""
        if self.timer is not None:
            self.timer.cancel()
        self.timer = Timer(timeout, self._late) if timeout else None
        if self.timer is not None:
            self.timer.daemon = True
            self.timer.start()

    def _late(self) -> NoReturn:
        if self.stack is not None:
            faulthandler.dump_traceback(self.stack)
            _ask(self.own)
        os._exit(1)


_WATCH = _Watch()


def _watched(scratch: Path, timeout: float, target: Callable[..., None], args: tuple[object, ...]) -> None:
    own = scratch / str(dist.get_rank())
    with own.with_suffix(".said").open("w") as said:  # ranks are many, and they and torch say the same
        for stream in (1, 2):
            os.dup2(said.fileno(), stream)
    _WATCH.own, _WATCH.stack = own, own.with_suffix(".stack").open("w")
    faulthandler.register(signal.SIGUSR1, _WATCH.stack)
    faulthandler.enable(_WATCH.stack)  # of a crash as well
    own.with_suffix(".pid").write_text(str(os.getpid()))
    _WATCH.begin(timeout)
    try:
        target(*args)
    except BaseException as fault:
        _WATCH.begin(0)
        own.with_suffix(".end").write_text(_way_to(fault))
        if _is_late(str(fault)):
            _ask(own)
        else:
            _wait_for_asking(scratch)
        raise
    _WATCH.begin(0)
    own.with_suffix(".done").touch()


def _way_to(fault: BaseException) -> str:
    """The frames on the way to a fault, outermost first; to its origin, where handling it has failed too."""
    origin = fault
    while origin.__context__ is not None:
        origin = origin.__context__
    return "".join(
        line for each in dict.fromkeys((fault, origin)) for line in traceback.format_tb(each.__traceback__)
    )


def _is_late(said: str) -> bool:
    return "timed out" in said.lower() or "timeout" in said.lower()


def _ask(own: Path) -> None:
    """A rank is late: it makes all others write down where they are."""
    own.with_suffix(".late").touch()
    asked = []
    for file in own.parent.glob("*.pid"):
        if (text := file.read_text()) and int(text) != os.getpid():
            with suppress(ProcessLookupError):
                os.kill(int(text), signal.SIGUSR1)
                asked.append(file.with_suffix(".stack"))
    end = time.monotonic() + HEARD
    while time.monotonic() < end and not all(file.stat().st_size for file in asked):
        time.sleep(0.05)
    time.sleep(0.2)  # they may be in the middle of it
    own.with_suffix(".asked").touch()


def _wait_for_asking(scratch: Path) -> None:
    """A late rank's connections close before it has asked: whom that ends must not end the run as well."""
    soon, end = time.monotonic() + SOON, time.monotonic() + 2 * HEARD
    while time.monotonic() < end:
        late = len(list(scratch.glob("*.late")))
        if late == len(list(scratch.glob("*.asked"))) and (late or time.monotonic() > soon):
            return
        time.sleep(0.05)


def _stopped(failed: RankFailed, world: int, folder: Path, scratch: Path, timeout: float) -> Stopped:
    report, rank = failed.report.rstrip(), failed.rank
    said = report.splitlines()[-1] if report else ""
    if killed := re.match(r"ended by signal (\w+)", report):
        how = report.removeprefix("ended by ")
        if killed[1] in OUTSIDE:
            message = f"rank {rank} was ended by {how}: that says nothing of the program"
            return Stopped("not provable", Finding(message))
        last = re.findall(r"what\(\): *(.*)", (scratch / f"{rank}.said").read_text())[-1:]
        return _fault(rank, f"ended by {how}", _stack(scratch / f"{rank}.stack", folder), last)
    calls = _calls(report, folder)[::-1]
    stacks = {other: _place(scratch / str(other), folder) for other in range(world)}
    if any(scratch.glob("*.late")):
        return _hang({**stacks, rank: stacks[rank] or calls}, timeout)
    if any(word in report for word in FULL):
        return Stopped("not provable", Finding(f"this machine has not enough for rank {rank}: {said}"))
    if said.startswith(f"{Unseen.__module__}.{Unseen.__name__}: "):
        return Stopped("not provable", Finding(said.partition(": ")[2]))
    return _fault(rank, said, calls, ())


def _fault(rank: int, said: str, calls: Sequence[Call], details: Sequence[str]) -> Stopped:
    where = _told(calls)
    file, line = where[0] if where else (None, None)
    lines = (*details, *(f"from {frame.file}:{frame.line}" for frame in where))
    message = f"the program does not come to the end of a step on rank {rank}: {said}"
    return Stopped("refuted", Finding(message, lines, file, line))


def _hang(stacks: dict[int, Sequence[Call]], timeout: float) -> Stopped:
    """Which ranks wait in which operation. Where one computes, a loop without end cannot be told from a slow
    machine.
    """
    waiting: dict[tuple[str, str], list[int]] = defaultdict(list)
    for rank, calls in sorted(stacks.items()):
        waiting[_waits(calls)].append(rank)
    details = tuple(
        f"ranks {compressed(ranks)} {does[0]}" if len(ranks) > 1 else f"rank {ranks[0]} {does[1]}"
        for does, ranks in waiting.items()
    )
    if any(does[0].startswith("run ") for does in waiting):
        message = f"a step was not done after {timeout:g} s, and not all ranks wait: --timeout gives it more"
        return Stopped("not provable", Finding(message, details), late=True)
    return Stopped(
        "refuted", Finding(f"the program hangs: a step was not done after {timeout:g} s", details), late=True
    )


def _waits(calls: Sequence[Call]) -> tuple[str, str]:
    """What ranks do, and what a rank does, its innermost call first."""
    where = " from ".join(f"{frame.file}:{frame.line}" for frame in _told(calls)[::-1])
    inner = next((number for number, each in enumerate(calls) if each.own), len(calls))
    if operation := _operation(calls[:inner]):
        what = f"in {operation}" + (f" at {where}" if where else "")
        return f"wait {what}", f"waits {what}"
    if where:
        return f"run {where}", f"runs {where}"
    return "were not heard of", "was not heard of"


def _operation(calls: Sequence[Call]) -> str:
    """What torch.distributed does in calls of its own, the innermost first; "" where it is not there."""
    inside = [each for each in calls if "torch/distributed/" in each.frame.file]
    public = [each.function for each in inside if each.frame.file.endswith("distributed_c10d.py")]
    named = [name for name in public if not name.startswith("_") and name != "wrapper"]
    if any("pipelining" in each.frame.file for each in inside):
        return "a send or receive of the pipeline"
    return f"`{(named or [inside[0].function])[0]}`" if inside else ""


def _told(calls: Sequence[Call]) -> list[Frame]:
    return telling(call.frame for call in calls if call.own)


def _place(rank: Path, folder: Path) -> list[Call]:
    """Where a rank has ended by itself, else where it was when asked; its innermost call first."""
    end = rank.with_suffix(".end")
    return (
        _calls(end.read_text(), folder)[::-1] if end.exists() else _stack(rank.with_suffix(".stack"), folder)
    )


def _stack(file: Path, folder: Path) -> list[Call]:
    """The first stack that a rank has written, innermost call first."""
    text = file.read_text() if file.exists() else ""
    stacks = re.split(r"^(?:Current thread|Thread) .*$", text, flags=re.MULTILINE)[1:]
    found = [_calls(stack, folder) for stack in stacks]
    return next((calls for calls in found if any(each.own for each in calls)), found[0] if found else [])


def _calls(text: str, folder: Path) -> list[Call]:
    inside = f"{folder.resolve()}/"
    found = re.findall(r'File "([^"]+)", line (\d+)(?:,? in (\S+))?', text)
    return [
        Call(Frame(_path(file).removeprefix(inside), int(line)), function, _path(file).startswith(inside))
        for file, line, function in found
    ]


def _path(file: str) -> str:
    return str(Path(file).resolve())
