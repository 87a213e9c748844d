"""Where a rank is: the line of the program that it runs, and the operation and ranks that it waits for."""

from __future__ import annotations

import linecache
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from types import FrameType

import torch.distributed as dist

FOLDER = Path(__file__).resolve().parents[1]  # of the program
RUNTIME = Path(__file__).resolve().parent
MAIN = FOLDER / "train.py"
SHOWN = 8  # ranks that a message lists


@dataclass(frozen=True)
class Activity:
    """What a rank does: it runs the program, or waits in `operation` for the ranks `peers`.

    `lines` are the places in the program that the call comes from, as "model.py:57", the innermost first;
    `code` is the text of the first.
    """

    operation: str
    peers: tuple[int, ...]
    lines: tuple[str, ...]
    code: str

    def __str__(self) -> str:
        where = " from ".join(self.lines) or "a place outside of the program"
        verb = f"waiting in `{self.operation}` at" if self.operation else "running"
        return f"{verb} {where}" + (f": `{self.code}`" if self.code else "")


def locate(main: int) -> Activity:
    """Where this process is. `main` identifies its main thread; a backward pass may run in another one."""
    own, frames = threading.get_ident(), sys._current_frames()  # noqa: SLF001 - the one way to other threads
    stacks = {thread: list(_walk(frame)) for thread, frame in frames.items() if thread != own}
    waiting = (stack for stack in stacks.values() if _find_communication(stack))
    stack = next(waiting, stacks.get(main, []))
    inside = _find_communication(stack)
    lines = [frame for frame in stack if _is_within(frame, FOLDER)]
    of_model = [frame for frame in lines if not (_is_within(frame, RUNTIME) or _is_within(frame, MAIN))]
    shown = list(dict.fromkeys([*of_model[:1], *lines[:1]]))
    code = linecache.getline(shown[0].f_code.co_filename, shown[0].f_lineno).strip() if shown else ""
    return Activity(_name_operation(inside), _list_peers(inside), tuple(map(_format_line, shown)), code)


def describe_hang(places: Mapping[int, Activity | None]) -> str:
    """Which ranks hold up the others, then where each rank is. None: a rank without answer."""
    guilty = find_guilty(places)
    by_place: dict[Activity | None, list[int]] = defaultdict(list)
    for rank, place in sorted(places.items(), key=lambda each: each[0] not in guilty):
        by_place[place].append(rank)
    verb = "hangs" if len(guilty) == 1 else "hang"
    head = f"{format_ranks(guilty)} {verb}" if guilty else "the ranks wait for each other"
    lines = [
        f"  {format_ranks(ranks)}: {place or 'no answer: stopped, or held up outside of Python'}"
        for place, ranks in by_place.items()
    ]
    return "\n".join([head, *lines])


def find_guilty(places: Mapping[int, Activity | None]) -> list[int]:
    """The ranks that hold up the others; none where that cannot be told.

    They are those that do not wait. Where all run, most may wait for their devices: it is the ranks that are
    elsewhere. Where all wait, it is those that most ranks wait for in an operation that they are not in.
    """
    running = [rank for rank, place in places.items() if place is None or not place.operation]
    if 0 < len(running) < len(places):
        return running
    if running:
        usual, count = Counter(places.values()).most_common(1)[0]
        return [rank for rank, place in places.items() if place != usual] if count * 2 > len(places) else []
    missed = Counter(
        peer
        for place in places.values()
        for peer in (place.peers if place else ())
        if not _is_same_operation(places.get(peer), place)
    )
    most = [rank for rank, count in missed.items() if count == max(missed.values())]
    return sorted(most) if len(most) * 2 < len(places) else []


def _is_same_operation(one: Activity | None, other: Activity | None) -> bool:
    return (one and (one.operation, one.peers)) == (other and (other.operation, other.peers))


def format_ranks(ranks: Sequence[int]) -> str:
    """ "rank 3", "ranks 0, 1 and 2", "ranks 0, 1, .. (128 in all)"."""
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    if len(ranks) > SHOWN:
        return f"ranks {', '.join(map(str, ranks[:SHOWN]))}, .. ({len(ranks)} in all)"
    return f"ranks {', '.join(map(str, ranks[:-1]))} and {ranks[-1]}"


def _walk(frame: FrameType | None) -> Iterator[FrameType]:
    """The frames of a stack, the innermost first."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_within(frame: FrameType, folder: Path) -> bool:
    return Path(frame.f_code.co_filename).is_relative_to(folder)


def _find_communication(stack: Sequence[FrameType]) -> list[FrameType]:
    """The frames of torch.distributed that the program has called last: a pipeline calls it back."""
    called = takewhile(lambda frame: not _is_within(frame, FOLDER), stack)
    return [frame for frame in called if "torch/distributed/" in frame.f_code.co_filename]


def _name_operation(inside: Sequence[FrameType]) -> str:
    """The operation of torch.distributed that these frames are in; "" where there are none."""
    if any("pipelining" in frame.f_code.co_filename for frame in inside):
        return "send or receive of the pipeline"
    public = [f.f_code.co_name for f in inside if f.f_code.co_filename.endswith("distributed_c10d.py")]
    named = [name for name in public if not name.startswith("_") and name != "wrapper"]
    return (named or [inside[0].f_code.co_name])[0] if inside else ""


def _list_peers(inside: Sequence[FrameType]) -> tuple[int, ...]:
    """The ranks of the group that an operation was called with; () where the frames do not have it."""
    for frame in inside:
        group = frame.f_locals.get("group")
        if isinstance(group, dist.ProcessGroup):
            return tuple(dist.get_process_group_ranks(group))
    return ()


def _format_line(frame: FrameType) -> str:
    file = Path(frame.f_code.co_filename).relative_to(FOLDER).as_posix()
    return f"{file}:{frame.f_lineno} in `{frame.f_code.co_name}`"
