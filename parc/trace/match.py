"""Whether the operations of all roles fit together: each meets its counterpart, and no rank waits for ever.

One simulated process runs each role. There, an operation is complete once all members of its group have come
to it, or a send has met its receive. The operations of one communicator are served in the order in which they
are issued, as NCCL does; gloo requires less. What a process may do next never depends on which other process
was faster, so all interleavings end alike (Kahn, 1974): one run that comes to its end shows that every run
does. The ranks of a role issue the same operations, so a run in which they keep step is a run of all ranks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from parc.trace.ops import IssuedOp, Op, Role, shapes_match

Channel: TypeAlias = tuple[str, tuple[int, ...], frozenset[int] | None]
"""A communicator: axis and roles of a group, and the two ends of operations that are sent outside a batch."""


@dataclass(frozen=True)
class OpPlace:
    """An operation of a role, by its number."""

    role: int
    number: int


@dataclass(frozen=True)
class MatchFault:
    """Why roles do not fit together. `places`: operations that differ, or that wait, each for the next."""

    kind: Literal["mismatch", "left over", "cycle", "group"]
    message: str
    details: tuple[str, ...]
    places: tuple[OpPlace, ...] = ()


def match(roles: Sequence[Role]) -> tuple[MatchFault, ...]:
    """All groups whose members disagree on who they are; else the first operation that does not fit."""
    return tuple(_check_groups(roles)) or tuple(_Run(roles).find_faults())


def _check_groups(roles: Sequence[Role]) -> Iterator[MatchFault]:
    for number, role in enumerate(roles):
        for axis in dict.fromkeys(each.op.axis for each in role.issued):
            members = role.groups.get(axis, ())
            others = [other for other in {*members, number} if roles[other].groups.get(axis) != members]
            if number not in members or others:
                names = ", ".join(roles[other].name for other in sorted(others)) or role.name
                message = f"{role.name} and {names} disagree on the groups over `{axis}`"
                yield MatchFault("group", message, (f"{role.name} counts {members} as members",))


@dataclass
class _Batch:
    """Operations that a role issues as one, and which of them have met their counterpart."""

    role: int
    numbers: list[int]
    ops: list[Op]
    met: list[bool]

    @property
    def collective(self) -> bool:
        return not self.ops[0].point_to_point

    def place(self, index: int = 0) -> OpPlace:
        return OpPlace(self.role, self.numbers[index])


class _Mismatch(Exception):
    def __init__(self, axis: str, *places: OpPlace) -> None:
        self.axis, self.places = axis, places


class _Run:
    """One run of all roles, as far as it goes."""

    def __init__(self, roles: Sequence[Role]) -> None:
        self.roles = roles
        self.next = [0] * len(roles)  # the operation that each role issues next
        self.complete = [[False] * len(role.issued) for role in roles]
        self.awaited = [_group_by_wait(role.issued) for role in roles]
        self.channels: list[dict[int, Channel]] = [{} for _ in roles]  # by the number of an operation
        self.queues: dict[tuple[Channel, int], deque[_Batch]] = {}
        self.ready = deque(range(len(roles)))

    def find_faults(self) -> Iterator[MatchFault]:
        try:
            while self.ready:
                self._advance(self.ready.popleft())
        except _Mismatch as found:
            names = " and ".join(self.roles[place.role].name for place in found.places)
            message = f"{names} do not issue the same over `{found.axis}`"
            yield MatchFault("mismatch", message, self._describe(found.places), found.places)
            return
        if stuck := [role for role in range(len(self.roles)) if self._find_awaited(role) is not None]:
            yield self._describe_deadlock(stuck[0])

    def _find_awaited(self, role: int) -> int | None:
        """The first operation that a role must see complete before it goes on."""
        complete = self.complete[role]
        return next((number for number in self.awaited[role][self.next[role]] if not complete[number]), None)

    def _advance(self, role: int) -> None:
        """Issues what a role can issue."""
        issued = self.roles[role].issued
        while self._find_awaited(role) is None and self.next[role] < len(issued):
            first = self.next[role]
            end = first + 1
            if issued[first].batch is not None:
                while end < len(issued) and issued[end].batch == issued[first].batch:
                    end += 1
            self.next[role] = end
            self._issue(role, list(range(first, end)))

    def _issue(self, role: int, numbers: list[int]) -> None:
        issued = self.roles[role].issued
        ops = [issued[number].op for number in numbers]
        members = self.roles[role].groups[ops[0].axis]
        alone = ops[0].point_to_point and issued[numbers[0]].batch is None
        channel = (ops[0].axis, members, frozenset((role, _find_peer(ops[0], members))) if alone else None)
        batch = _Batch(role, numbers, ops, [False] * len(ops))
        self.channels[role].update(dict.fromkeys(numbers, channel))
        self.queues.setdefault((channel, role), deque()).append(batch)
        while self._serve(channel):
            pass

    def _list_heads(self, channel: Channel) -> dict[int, _Batch]:
        """The batch in front of each role's queue."""
        _, members, ends = channel
        queues = ((role, self.queues.get((channel, role))) for role in ends or dict.fromkeys(members))
        return {role: queue[0] for role, queue in queues if queue}

    def _serve(self, channel: Channel) -> bool:
        """Completes the batches in front as far as possible; whether one was completed."""
        _, members, ends = channel
        heads = self._list_heads(channel)
        if all(batch.collective for batch in heads.values()):
            if len(heads) < len(ends or set(members)):
                return False
            first, *others = heads.values()
            for other in others:
                if not first.ops[0].matches(other.ops[0]):
                    raise _Mismatch(channel[0], first.place(), other.place())
            for batch in heads.values():
                batch.met = [True]
        else:
            for batch in heads.values():
                self._meet(batch, heads, members)
        done = [batch for batch in heads.values() if all(batch.met)]
        for batch in done:
            self.queues[channel, batch.role].popleft()
            for number in batch.numbers:
                self.complete[batch.role][number] = True
            self.ready.append(batch.role)
        return bool(done)

    def _meet(self, batch: _Batch, heads: dict[int, _Batch], members: tuple[int, ...]) -> None:
        """Pairs the sends and receives of a batch with those of the batches in front of their peers."""
        for mine, op in enumerate(batch.ops):
            other = heads.get(_find_peer(op, members)) if op.point_to_point and not batch.met[mine] else None
            theirs = _find_counterpart(op, batch.role, other, members) if other else None
            if other is None or theirs is None:
                continue
            if op.dtype != other.ops[theirs].dtype or not shapes_match(op.shape, other.ops[theirs].shape):
                raise _Mismatch(op.axis, batch.place(mine), other.place(theirs))
            batch.met[mine] = other.met[theirs] = True

    def _describe_deadlock(self, role: int) -> MatchFault:
        """Follows who waits for whom, to a cycle or to a role that has come to its end."""
        path: list[OpPlace] = []
        while role not in [place.role for place in path]:
            number = self._find_awaited(role)
            if number is None:
                last = path[-1]
                waiting, ended = self.roles[last.role].name, self.roles[role].name
                message = f"{waiting} waits for {ended}, which is at its end"
                return MatchFault("left over", message, self._describe([last]), (last,))
            channel = self.channels[role][number]
            head = self.queues[channel, role][0]
            unmet = head.met.index(False)
            path.append(head.place(unmet))
            role = self._find_absent(head, head.ops[unmet], channel)
        cycle = path[[place.role for place in path].index(role) :]
        names = " waits for ".join(self.roles[place.role].name for place in [*cycle, cycle[0]])
        return MatchFault("cycle", f"{names}, for ever", self._describe(cycle), tuple(cycle))

    def _find_absent(self, batch: _Batch, op: Op, channel: Channel) -> int:
        """The role whose operation the one in front waits for."""
        _, members, _ = channel
        if op.point_to_point:
            return _find_peer(op, members)
        heads = self._list_heads(channel)
        return next(r for r in members if r != batch.role and not (r in heads and heads[r].collective))

    def _describe(self, places: Sequence[OpPlace]) -> tuple[str, ...]:
        pairs = [(self.roles[place.role], place.number) for place in places]
        return tuple(f"{role.name}, operation {number}: {role.issued[number]}" for role, number in pairs)


def _group_by_wait(issued: Sequence[IssuedOp]) -> list[list[int]]:
    """For each operation, and for the end, the operations that must be complete before it is issued."""
    found: list[list[int]] = [[] for _ in range(len(issued) + 1)]
    for number, each in enumerate(issued):
        found[each.awaited_before].append(number)
    return found


def _find_peer(op: Op, members: tuple[int, ...]) -> int:
    assert op.peer is not None
    return members[op.peer]


def _find_counterpart(op: Op, role: int, other: _Batch, members: tuple[int, ...]) -> int | None:
    """The index of the first unmet operation of `other` that goes the other way."""
    kind = "recv" if op.kind == "send" else "send"
    unmet = ((index, theirs) for index, theirs in enumerate(other.ops) if not other.met[index])
    found = (index for index, theirs in unmet if theirs.kind == kind and _find_peer(theirs, members) == role)
    return next(found, None)
