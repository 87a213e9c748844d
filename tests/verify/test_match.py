"""Whether the operations of roles fit together: mismatches, cycles of waits, groups, sends both ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from parc.trace.match import OpPlace, match
from parc.trace.ops import Op, Role, Tape

SUM = Op("all_reduce", "pp", (4, 8), "torch.float32", "sum")


def send(peer: int) -> Op:
    return Op("send", "pp", (8,), "torch.float32", peer=peer)


def recv(peer: int) -> Op:
    return Op("recv", "pp", (8,), "torch.float32", peer=peer)


def issue_each(*ops: Op) -> Tape:
    """Waits for each operation before the next is issued."""
    tape = Tape()
    tape.run(ops)
    return tape


def roles(*tapes: Tape) -> Sequence[Role]:
    """Stages of a pipeline over `pp`; each is in a group of its own over `tp`."""
    members = tuple(range(len(tapes)))
    return [
        Role(f"stage {number}", tape.list_issued(), {"pp": members, "tp": (number, number)})
        for number, tape in enumerate(tapes)
    ]


def test_equal_operations_match() -> None:
    assert match(roles(issue_each(SUM, SUM), issue_each(SUM, SUM))) == ()


@pytest.mark.parametrize(
    "other",
    [
        replace(SUM, kind="all_gather", reduction=None),
        replace(SUM, reduction="max"),
        replace(SUM, shape=(4, 9)),
        replace(SUM, shape=(32,)),
        replace(SUM, dtype="torch.float64"),
    ],
    ids=["operation", "reduction", "size", "dims", "type"],
)
def test_another_operation_is_a_mismatch(other: Op) -> None:
    (fault,) = match(roles(issue_each(SUM, SUM), issue_each(SUM, other)))
    assert (fault.kind, fault.places) == ("mismatch", (OpPlace(0, 1), OpPlace(1, 1)))
    assert fault.message == "stage 0 and stage 1 do not issue the same over `pp`"
    assert len(fault.details) == 2


def test_a_size_that_routing_decides_matches_any_other() -> None:
    rows = replace(SUM, shape=("rows", 8))
    assert match(roles(issue_each(rows), issue_each(SUM))) == ()


def test_a_send_meets_its_receive() -> None:
    assert match(roles(issue_each(send(1), recv(1)), issue_each(recv(0), send(0)))) == ()


def test_a_receive_of_another_size_is_a_mismatch() -> None:
    (fault,) = match(roles(issue_each(send(1)), issue_each(replace(recv(0), shape=(9,)))))
    assert fault.kind == "mismatch"


def test_two_roles_that_receive_first_wait_in_a_cycle() -> None:
    (fault,) = match(roles(issue_each(recv(1), send(1)), issue_each(recv(0), send(0))))
    assert fault.kind == "cycle"
    assert {place.role for place in fault.places} == {0, 1}
    assert {place.number for place in fault.places} == {0}


def test_two_roles_that_send_and_wait_for_it_do_too() -> None:
    """A send is complete when it has met its receive: a program that relies on a buffer hangs without one."""
    (fault,) = match(roles(issue_each(send(1), recv(1)), issue_each(send(0), recv(0))))
    assert fault.kind == "cycle"


def test_sends_both_ways_in_one_batch_fit() -> None:
    def both(peer: int) -> Tape:
        tape = Tape()
        tape.wait(tape.post([send(peer), recv(peer)], batch=0))
        return tape

    assert match(roles(both(1), both(0))) == ()


def test_sends_both_ways_outside_a_batch_block_each_other() -> None:
    """Even if no rank waits for the sends: NCCL serves two ranks in the order in which they issue."""

    def sends_first(peer: int) -> Tape:
        tape = Tape()
        sent = tape.post([send(peer)])
        tape.run([recv(peer)])
        tape.wait(sent)
        return tape

    (fault,) = match(roles(sends_first(1), sends_first(0)))
    assert fault.kind == "cycle"


def test_a_ring_of_three_that_all_receive_first_is_one_cycle() -> None:
    ring = [issue_each(recv((number + 2) % 3), send((number + 1) % 3)) for number in range(3)]
    (fault,) = match(roles(*ring))
    assert fault.kind == "cycle"
    assert {place.role for place in fault.places} == {0, 1, 2}


def test_collectives_of_two_groups_in_another_order_are_a_cycle() -> None:
    over = replace(SUM, axis="dp")
    given = roles(issue_each(SUM, over), issue_each(over, SUM))
    (fault,) = match([replace(role, groups={"pp": (0, 1), "dp": (0, 1)}) for role in given])
    assert fault.kind == "cycle"


def test_an_operation_without_counterpart_is_left_over() -> None:
    (fault,) = match(roles(issue_each(send(1), send(1)), issue_each(recv(0))))
    assert (fault.kind, fault.places) == ("left over", (OpPlace(0, 1),))
    assert fault.message == "stage 0 waits for stage 1, which is at its end"


def test_disagreement_on_a_group_is_reported_first() -> None:
    first, second = roles(issue_each(SUM), issue_each(replace(SUM, reduction="max")))
    faults = match([first, replace(second, groups={"pp": (1, 0)})])
    assert {fault.kind for fault in faults} == {"group"}
    assert faults[0].message == "stage 0 and stage 1 disagree on the groups over `pp`"


def test_a_rank_that_is_not_in_its_own_group_is_reported() -> None:
    first, second = roles(issue_each(SUM), issue_each(SUM))
    faults = match([replace(first, groups={"pp": (1, 1)}), replace(second, groups={"pp": (1, 1)})])
    assert [fault.kind for fault in faults] == ["group"]
