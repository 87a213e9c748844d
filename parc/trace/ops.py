"""Operations over groups of ranks, and the order in which one rank issues and awaits them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

OpKind: TypeAlias = Literal[
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
    """One operation of one rank. A group of a single rank issues none.

    `shape` is that of what the rank puts in; for a reduce-scatter, a scatter and a receive, of what it gets.
    A size that routing decides is a name.
    """

    kind: OpKind
    axis: str  # of its group; "dp+tp" where several axes make one group
    shape: Shape
    dtype: str
    reduction: str | None = None
    peer: int | None = None  # coordinate on the axis: of the other end, or of the root
    where: str = field(default="", compare=False)

    @property
    def point_to_point(self) -> bool:
        return self.kind in ("send", "recv")

    def matches(self, other: Op) -> bool:
        """Whether it is the same operation; a size that routing decides equals any other."""
        mine = (self.kind, self.axis, self.dtype, self.reduction, self.peer)
        theirs = (other.kind, other.axis, other.dtype, other.reduction, other.peer)
        return mine == theirs and shapes_match(self.shape, other.shape)

    def __str__(self) -> str:
        shape = f"({', '.join(map(str, self.shape))}{',' if len(self.shape) == 1 else ''})"
        what = f"{self.kind} {self.reduction}" if self.reduction else self.kind
        preposition = "to" if self.kind == "send" else "from"
        peer = "" if self.peer is None else f" {preposition} {self.peer}"
        return f"{what} of {shape} {self.dtype.removeprefix('torch.')} over `{self.axis}`{peer}"


def shapes_match(one: Shape, other: Shape) -> bool:
    """Whether two shapes agree in every size that both know."""
    return len(one) == len(other) and all(
        a == b or isinstance(a, str) or isinstance(b, str) for a, b in zip(one, other, strict=True)
    )


@dataclass(frozen=True, slots=True)
class IssuedOp:
    """An operation in a rank's sequence. Numbers are places in that sequence."""

    op: Op
    awaited_before: int  # the rank issues this operation only when the one here is complete
    batch: int | None = None  # the first of the operations that are issued as one; None: issued alone
    phase: str = field(default="", compare=False)

    def matches(self, other: IssuedOp) -> bool:
        """Whether it is the same operation, issued and awaited at the same places."""
        placed = self.awaited_before == other.awaited_before and self.batch == other.batch
        return placed and self.op.matches(other.op)

    def __str__(self) -> str:
        origin = ", ".join(part for part in (self.op.where, self.phase) if part)
        return f"{self.op} ({origin})" if origin else str(self.op)


@dataclass(frozen=True)
class Role:
    """The ranks that issue the same operations.

    `groups` has for each axis the roles of a group's members, as numbers in a sequence of roles.
    """

    name: str
    issued: tuple[IssuedOp, ...]
    groups: Mapping[str, tuple[int, ...]]


class Tape:
    """Records the operations that one rank issues, and when it waits for them.

    `phase` names the part of the step that the next operations belong to.
    """

    def __init__(self) -> None:
        self.phase = ""
        self._ops: list[tuple[Op, int | None, str]] = []
        self._awaited_before: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._ops)

    def post(self, ops: Sequence[Op], batch: int | None = None) -> list[int]:
        """Issues operations without waiting for them; their numbers. `batch` is the first of a batch."""
        first = len(self._ops)
        self._ops += [(op, batch, self.phase) for op in ops]
        return list(range(first, len(self._ops)))

    def wait(self, numbers: Iterable[int]) -> None:
        """Waits for operations. Those that are never waited for are complete at the end."""
        for number in numbers:
            self._awaited_before.setdefault(number, len(self._ops))

    def run(self, ops: Iterable[Op]) -> None:
        """Issues operations one after the other, and waits for each."""
        for op in ops:
            self.wait(self.post([op]))

    def list_issued(self) -> tuple[IssuedOp, ...]:
        """All operations so far."""
        end = len(self._ops)
        return tuple(
            IssuedOp(op, self._awaited_before.get(number, end), batch, phase)
            for number, (op, batch, phase) in enumerate(self._ops)
        )
