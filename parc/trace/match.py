"""Whether sequences of operations fit together: every operation meets its like, and nobody waits for ever.

Roles stand for their ranks: one process a role is run, in which an operation is complete once all members of
its group have come to it, or a send has met its receive. Operations of one communicator are served in the
order in which they are issued, as NCCL does; gloo asks for less. What one process may do next never depends
on which other one was faster, so that all interleavings end alike (Kahn, 1974): one run that comes to its end
shows that every run does. The ranks of a role issue the same, so a run in which they keep step is a run of
all ranks, and the argument holds for these.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from parc.trace.ops import Issue, Op, Role, same_shape

Channel: TypeAlias = tuple[str, tuple[int, ...], frozenset[int] | None]
"""A communicator: axis and roles of a group, and the two ends of what is sent alone."""


@dataclass(frozen=True)
class Place:
    """An operation of a role."""

    role: int
    number: int


@dataclass(frozen=True)
class Fault:
    """What does not fit: `places` are of operations that differ, or that wait, each for the next."""

    kind: Literal["mismatch", "left over", "cycle", "group"]
    message: str
    details: tuple[str, ...]
    places: tuple[Place, ...] = ()


def match(roles: Sequence[Role]) -> tuple[Fault, ...]:
    """All groups whose members disagree on who they are; else the first operation that does not fit."""
    return tuple(_groups(roles)) or tuple(_Run(roles).faults())


def described(issue: Issue) -> str:
    """An operation in words, and where it comes from."""
    origin = ", ".join(part for part in (issue.op.where, issue.when) if part)
    return f"{issue.op} ({origin})" if origin else str(issue.op)


def _groups(roles: Sequence[Role]) -> Iterator[Fault]:
    for number, role in enumerate(roles):
        for axis in dict.fromkeys(issue.op.axis for issue in role.issues):
            members = role.groups.get(axis, ())
            apart = [
                other for other in sorted({*members, number}) if roles[other].groups.get(axis) != members
            ]
            if number not in members or apart:
                names = ", ".join(roles[other].name for other in apart) or role.name
                message = f"{role.name} and {names} disagree on the groups over `{axis}`"
                yield Fault("group", message, (f"{role.name} counts {members} as members",))


@dataclass
class _Item:
    """What a role has issued as one, and which of its operations have met their like."""

    role: int
    numbers: list[int]
    ops: list[Op]
    met: list[bool]

    @property
    def collective(self) -> bool:
        return not self.ops[0].pairwise


class _Mismatch(Exception):
    def __init__(self, *places: Place) -> None:
        self.places = places


class _Run:
    """One run of all roles, as far as it goes."""

    def __init__(self, roles: Sequence[Role]) -> None:
        self.roles = roles
        self.next = [0] * len(roles)  # the operation that each role issues next
        self.complete = [[False] * len(role.issues) for role in roles]
        self.awaited = [_awaited(role.issues) for role in roles]
        self.issued: list[dict[int, tuple[Channel, _Item]]] = [{} for _ in roles]
        self.queues: dict[tuple[Channel, int], deque[_Item]] = {}
        self.ready = deque(range(len(roles)))

    def faults(self) -> Iterator[Fault]:
        try:
            while self.ready:
                self._advance(self.ready.popleft())
        except _Mismatch as found:
            yield self._mismatch(found.places)
            return
        if stuck := [role for role in range(len(self.roles)) if self._waits_for(role) is not None]:
            yield self._stuck(stuck[0])

    def _waits_for(self, role: int) -> int | None:
        """The first operation that a role must see complete before it goes on."""
        done = self.complete[role]
        return next((number for number in self.awaited[role][self.next[role]] if not done[number]), None)

    def _advance(self, role: int) -> None:
        issues = self.roles[role].issues
        while self._waits_for(role) is None and self.next[role] < len(issues):
            first = self.next[role]
            end = first + 1
            if issues[first].batch is not None:
                while end < len(issues) and issues[end].batch == issues[first].batch:
                    end += 1
            self.next[role] = end
            self._issue(role, list(range(first, end)))

    def _issue(self, role: int, numbers: list[int]) -> None:
        issues = self.roles[role].issues
        ops = [issues[number].op for number in numbers]
        members = self.roles[role].groups[ops[0].axis]
        alone = ops[0].pairwise and issues[numbers[0]].batch is None
        ends = frozenset((role, _other(ops[0], members))) if alone else None
        channel = (ops[0].axis, members, ends)
        item = _Item(role, numbers, ops, [False] * len(ops))
        self.issued[role].update((number, (channel, item)) for number in numbers)
        self.queues.setdefault((channel, role), deque()).append(item)
        while self._serve(channel):
            pass

    def _heads(self, channel: Channel) -> dict[int, _Item]:
        _, members, ends = channel
        queues = ((role, self.queues.get((channel, role))) for role in ends or dict.fromkeys(members))
        return {role: queue[0] for role, queue in queues if queue}

    def _serve(self, channel: Channel) -> bool:
        """Completes what can be of the operations that are in front; whether there was any."""
        _, members, ends = channel
        heads = self._heads(channel)
        if all(item.collective for item in heads.values()):
            if len(heads) < len(ends or set(members)):
                return False
            self._agree(list(heads.values()))
            for item in heads.values():
                item.met = [True]
        else:
            for item in heads.values():
                self._meet(item, heads, members)
        done = [item for item in heads.values() if all(item.met)]
        for item in done:
            self.queues[channel, item.role].popleft()
            for number in item.numbers:
                self.complete[item.role][number] = True
            self.ready.append(item.role)
        return bool(done)

    def _agree(self, items: Sequence[_Item]) -> None:
        first = items[0]
        for other in items[1:]:
            if not first.ops[0].fits(other.ops[0]):
                raise _Mismatch(Place(first.role, first.numbers[0]), Place(other.role, other.numbers[0]))

    def _meet(self, item: _Item, heads: dict[int, _Item], members: tuple[int, ...]) -> None:
        """Lets the sends and receives of an item meet those of the items in front at their other ends."""
        for mine, op in enumerate(item.ops):
            other = heads.get(_other(op, members)) if op.pairwise and not item.met[mine] else None
            theirs = _dual(op, item.role, other, members) if other else None
            if other is not None and theirs is not None:
                if not _crosses(op, other.ops[theirs]):
                    raise _Mismatch(
                        Place(item.role, item.numbers[mine]), Place(other.role, other.numbers[theirs])
                    )
                item.met[mine] = other.met[theirs] = True

    def _mismatch(self, places: tuple[Place, ...]) -> Fault:
        names = " and ".join(self.roles[place.role].name for place in places)
        axis = self.roles[places[0].role].issues[places[0].number].op.axis
        return Fault("mismatch", f"{names} do not issue the same over `{axis}`", self._said(places), places)

    def _stuck(self, role: int) -> Fault:
        """Follows who waits for whom, to a circle or to someone who has come to an end."""
        path: list[Place] = []
        while role not in [place.role for place in path]:
            number = self._waits_for(role)
            if number is None:
                last = path[-1]
                message = (
                    f"{self.roles[last.role].name} waits for {self.roles[role].name}, which is at its end"
                )
                return Fault("left over", message, self._said(path[-1:]), (last,))
            channel, _ = self.issued[role][number]
            head = self.queues[channel, role][0]
            unmet = head.met.index(False)
            path.append(Place(role, head.numbers[unmet]))
            role = self._missing(head, head.ops[unmet], channel)
        circle = path[[place.role for place in path].index(role) :]
        names = " waits for ".join(self.roles[place.role].name for place in [*circle, circle[0]])
        return Fault("cycle", f"{names}, for ever", self._said(circle), tuple(circle))

    def _missing(self, item: _Item, op: Op, channel: Channel) -> int:
        """Whom an operation in front is not met by."""
        heads = self._heads(channel)
        if op.pairwise:
            return _other(op, channel[1])
        return next(r for r in channel[1] if r != item.role and not (r in heads and heads[r].collective))

    def _said(self, places: Sequence[Place]) -> tuple[str, ...]:
        told = []
        for place in places:
            role = self.roles[place.role]
            told.append(f"{role.name}, operation {place.number}: {described(role.issues[place.number])}")
        return tuple(told)


def _awaited(issues: Sequence[Issue]) -> list[list[int]]:
    """For each operation, and for the end, which ones are complete before it is issued."""
    found: list[list[int]] = [[] for _ in range(len(issues) + 1)]
    for number, issue in enumerate(issues):
        found[issue.until].append(number)
    return found


def _other(op: Op, members: tuple[int, ...]) -> int:
    assert op.peer is not None
    return members[op.peer]


def _dual(op: Op, role: int, other: _Item, members: tuple[int, ...]) -> int | None:
    """The first operation of `other` that has not met its like, and goes the other way."""
    kind = "recv" if op.kind == "send" else "send"
    return next(
        (
            place
            for place, theirs in enumerate(other.ops)
            if theirs.kind == kind and not other.met[place] and _other(theirs, members) == role
        ),
        None,
    )


def _crosses(one: Op, other: Op) -> bool:
    return one.dtype == other.dtype and same_shape(one.shape, other.shape)
