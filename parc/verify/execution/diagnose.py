"""Explains why a run of ranks has not come to its end: a hang, a crash, a kill, too little memory."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from parc.runtime.process.launch import RankFailed
from parc.verify.report import NotProvable, RungFinding, RungVerdict, format_ranks
from parc.verify.source_lines import ProgramFrame, select_frames

EXTERNAL_SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")  # that no program sends itself by mistake
OUT_OF_RESOURCES = ("out of memory", "allocate memory", "MemoryError", "No space left", "Too many open files")
NOT_PROVABLE = f"{NotProvable.__module__}.{NotProvable.__name__}: "


class RunFailed(Exception):
    """A run that did not come to its end. `verdict` is "refuted" where the program is the cause."""

    def __init__(self, verdict: RungVerdict, finding: RungFinding, *, timed_out: bool = False) -> None:
        super().__init__(finding.message)
        self.verdict, self.finding, self.timed_out = verdict, finding, timed_out


class StackCall(NamedTuple):
    """One call of a stack. `own`: its file lies in the program's folder."""

    frame: ProgramFrame
    function: str
    own: bool


Stack = Sequence[StackCall]  # the innermost call first


def diagnose(failed: RankFailed, world: int, folder: Path, scratch: Path, timeout: float) -> RunFailed:
    """Why the run of the program in `folder` ended, from what its ranks have left in `scratch`."""
    report, rank = failed.report.rstrip(), failed.rank
    last = report.splitlines()[-1] if report else ""
    if killed := re.match(r"ended by signal (\w+)", report):
        if killed[1] in EXTERNAL_SIGNALS:
            return _report_inconclusive(f"rank {rank} was {report}: that tells nothing about the program")
        reasons = re.findall(r"what\(\): *(.*)", (scratch / f"{rank}.log").read_text())[-1:]
        return _report_crash(rank, report, _read_stack(scratch / f"{rank}.stack", folder), reasons)
    calls = _parse_calls(report, folder)[::-1]
    if any(scratch.glob("*.late")):
        stacks = {other: _locate_rank(scratch / str(other), folder) for other in range(world)}
        return _report_hang({**stacks, rank: stacks[rank] or calls}, timeout)
    if any(word in report for word in OUT_OF_RESOURCES):
        return _report_inconclusive(f"this machine has too few resources for rank {rank}: {last}")
    if last.startswith(NOT_PROVABLE):
        return _report_inconclusive(last.removeprefix(NOT_PROVABLE))
    return _report_crash(rank, last, calls)


def _report_inconclusive(message: str) -> RunFailed:
    return RunFailed("not provable", RungFinding(message))


def _report_crash(rank: int, reason: str, stack: Stack, details: Sequence[str] = ()) -> RunFailed:
    frames = _select_own(stack)
    file, line = frames[0] if frames else (None, None)
    lines = (*details, *(f"from {frame.file}:{frame.line}" for frame in frames))
    message = f"the program does not come to the end of a step on rank {rank}: {reason}"
    return RunFailed("refuted", RungFinding(message, lines, file, line))


def _report_hang(stacks: Mapping[int, Stack], timeout: float) -> RunFailed:
    """Which ranks wait in which operation.

    Where one computes, an endless loop cannot be told from a slow machine.
    """
    by_activity: dict[tuple[str, str], list[int]] = defaultdict(list)
    for rank, stack in sorted(stacks.items()):
        by_activity[_describe_activity(stack)].append(rank)
    details = tuple(
        f"{format_ranks(ranks)} {verb if len(ranks) > 1 else f'{verb}s'} {what}"
        for (verb, what), ranks in by_activity.items()
    )
    message = f"a step was not done after {timeout:g} s"
    if any(verb == "run" for verb, _ in by_activity):
        message += ", and not all ranks wait: --timeout gives it more"
        return RunFailed("not provable", RungFinding(message, details), timed_out=True)
    return RunFailed("refuted", RungFinding(f"the program hangs: {message}", details), timed_out=True)


def _describe_activity(stack: Stack) -> tuple[str, str]:
    """A verb and its object: "wait", "in `recv` at stage_0.py:12"."""
    where = " from ".join(f"{frame.file}:{frame.line}" for frame in _select_own(stack)[::-1])
    inner = next((number for number, call in enumerate(stack) if call.own), len(stack))
    if operation := _name_operation(stack[:inner]):
        return "wait", f"in {operation}" + (f" at {where}" if where else "")
    return ("run", where) if where else ("leave", "no stack")


def _name_operation(stack: Stack) -> str:
    """The operation of torch.distributed that a stack is in; "" where it is in none."""
    inside = [call for call in stack if "torch/distributed/" in call.frame.file]
    if any("pipelining" in call.frame.file for call in inside):
        return "a send or receive of the pipeline"
    public = [call.function for call in inside if call.frame.file.endswith("distributed_c10d.py")]
    named = [name for name in public if not name.startswith("_") and name != "wrapper"]
    return f"`{(named or [inside[0].function])[0]}`" if inside else ""


def _select_own(stack: Stack) -> list[ProgramFrame]:
    return select_frames(call.frame for call in stack if call.own)


def _locate_rank(files: Path, folder: Path) -> Stack:
    """Where a rank was when its exception was raised, else when its stack was requested."""
    ended = files.with_suffix(".traceback")
    if ended.exists():
        return _parse_calls(ended.read_text(), folder)[::-1]
    return _read_stack(files.with_suffix(".stack"), folder)


def _read_stack(file: Path, folder: Path) -> Stack:
    """The first stack in a file of faulthandler's with a call of the program, else the first of all.

    That of a thread which the program has started, such as for its progress, comes after the others.
    """
    text = file.read_text() if file.exists() else ""
    stacks = re.split(r"^(?:Current thread|Thread) .*$", text, flags=re.MULTILINE)[1:]
    stacks.sort(key=lambda stack: " in _bootstrap\n" in stack)
    found = [_parse_calls(stack, folder) for stack in stacks]
    return next((calls for calls in found if any(call.own for call in calls)), found[0] if found else [])


def _parse_calls(text: str, folder: Path) -> list[StackCall]:
    inside = f"{folder.resolve()}/"
    calls = []
    for file, line, function in re.findall(r'File "([^"]+)", line (\d+)(?:,? in (\S+))?', text):
        path = str(Path(file).resolve())
        frame = ProgramFrame(path.removeprefix(inside), int(line))
        calls.append(StackCall(frame, function, path.startswith(inside)))
    return calls
