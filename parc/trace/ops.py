"""Operations over groups of ranks, and the order in which one rank issues and awaits them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal[
    "all_reduce",
    "all_gather",
    "reduce_scatter",
    "all_to_all",
    "broadcast",
    "reduce",
    "gather",
    "scatter",
    "barrier",
    "send",
    "recv",
]
Shape: TypeAlias = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Op:
    """One operation of one rank. A group of a single rank makes none.

    `shape` is what the rank puts in, but for a reduce-scatter, a scatter and a receive, where it is what it
    gets.
    """

    kind: Kind
    axis: str  # whose group it is of; "dp+tp" where several axes make one group
    shape: Shape
    dtype: str
    reduction: str | None = None
    peer: int | None = None  # coordinate on the axis: of the other end, or of the one root
    where: str = field(default="", compare=False)

    @property
    def pairwise(self) -> bool:
        """Whether two ranks alone take part."""
        return self.kind in ("send", "recv")

    def fits(self, other: Op) -> bool:
        """Whether it is the same operation; a size that routing decides is the same as any."""
        mine = (self.kind, self.axis, self.dtype, self.reduction, self.peer)
        theirs = (other.kind, other.axis, other.dtype, other.reduction, other.peer)
        return mine == theirs and same_shape(self.shape, other.shape)

    def __str__(self) -> str:
        shape = f"({', '.join(map(str, self.shape))}{',' if len(self.shape) == 1 else ''})"
        what = f"{self.kind} {self.reduction}" if self.reduction else self.kind
        peer = (
            "" if self.peer is None else f" to {self.peer}" if self.kind == "send" else f" from {self.peer}"
        )
        return f"{what} of {shape} {self.dtype.removeprefix('torch.')} over `{self.axis}`{peer}"


def same_shape(one: Shape, other: Shape) -> bool:
    """Whether two shapes agree wherever both are known."""
    return len(one) == len(other) and all(
        a == b or isinstance(a, str) or isinstance(b, str) for a, b in zip(one, other, strict=True)
    )


@dataclass(frozen=True, slots=True)
class Issue:
    """An operation in a rank's sequence. Numbers are places in that sequence."""

    op: Op
    until: int  # the rank does not issue operation `until` before this one is complete
    batch: int | None = None  # the first of those that are issued as one; None: it is issued alone
    when: str = field(default="", compare=False)


@dataclass(frozen=True)
class Role:
    """What ranks have in common that issue the same operations.

    `groups` has for each axis the roles of a group's members, by their numbers in a sequence of roles.
    """

    name: str
    issues: tuple[Issue, ...]
    groups: Mapping[str, tuple[int, ...]]


class Tape:
    """Writes the issues of one rank."""

    def __init__(self) -> None:
        self.when = ""
        self._ops: list[tuple[Op, int | None, str]] = []
        self._until: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._ops)

    def post(self, ops: Sequence[Op], batch: int | None = None) -> list[int]:
        """Issues operations without waiting for them; their numbers. `batch` is the first of theirs."""
        first = len(self._ops)
        self._ops += [(op, batch, self.when) for op in ops]
        return list(range(first, len(self._ops)))

    def wait(self, numbers: Iterable[int]) -> None:
        """Waits for operations; those never waited for are complete at the end."""
        for number in numbers:
            self._until.setdefault(number, len(self._ops))

    def run(self, ops: Iterable[Op]) -> None:
        """Issues one operation after the other, waiting for each."""
        for op in ops:
            self.wait(self.post([op]))

    def issues(self) -> tuple[Issue, ...]:
        """All that was written."""
        end = len(self._ops)
        return tuple(
            Issue(op, self._until.get(number, end), batch, when)
            for number, (op, batch, when) in enumerate(self._ops)
        )


def joined(first: Sequence[Issue], second: Sequence[Issue]) -> tuple[Issue, ...]:
    """Two sequences as one."""
    by = len(first)
    moved = (
        Issue(each.op, each.until + by, None if each.batch is None else each.batch + by, each.when)
        for each in second
    )
    return (*first, *moved)
