"""Whether what roles issue fits together: mismatches, cycles of waits, groups, sends both ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from parc.trace.match import Place, match
from parc.trace.ops import Op, Role, Tape

SUM = Op("all_reduce", "pp", (4, 8), "torch.float32", "sum")


def send(peer: int) -> Op:
    return Op("send", "pp", (8,), "torch.float32", peer=peer)


def recv(peer: int) -> Op:
    return Op("recv", "pp", (8,), "torch.float32", peer=peer)


def in_turn(*ops: Op) -> Tape:
    """Each is waited for before the next is issued."""
    tape = Tape()
    tape.run(ops)
    return tape


def roles(*tapes: Tape) -> Sequence[Role]:
    """Stages of a pipeline over `pp`; each is in a group of its own over `tp`."""
    members = tuple(range(len(tapes)))
    return [
        Role(f"stage {number}", tape.issues(), {"pp": members, "tp": (number, number)})
        for number, tape in enumerate(tapes)
    ]


def test_what_is_alike_fits() -> None:
    assert match(roles(in_turn(SUM, SUM), in_turn(SUM, SUM))) == ()


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
def test_an_operation_that_is_not_its_like_is_a_mismatch(other: Op) -> None:
    (fault,) = match(roles(in_turn(SUM, SUM), in_turn(SUM, other)))
    assert (fault.kind, fault.places) == ("mismatch", (Place(0, 1), Place(1, 1)))
    assert fault.message == "stage 0 and stage 1 do not issue the same over `pp`"
    assert len(fault.details) == 2


def test_a_size_that_routing_decides_fits_any_other() -> None:
    rows = replace(SUM, shape=("rows", 8))
    assert match(roles(in_turn(rows), in_turn(SUM))) == ()


def test_a_send_meets_its_receive() -> None:
    assert match(roles(in_turn(send(1), recv(1)), in_turn(recv(0), send(0)))) == ()


def test_a_receive_of_another_size_is_a_mismatch() -> None:
    (fault,) = match(roles(in_turn(send(1)), in_turn(replace(recv(0), shape=(9,)))))
    assert fault.kind == "mismatch"


def test_two_who_first_receive_wait_in_a_circle() -> None:
    (fault,) = match(roles(in_turn(recv(1), send(1)), in_turn(recv(0), send(0))))
    assert fault.kind == "cycle"
    assert {place.role for place in fault.places} == {0, 1}
    assert {place.number for place in fault.places} == {0}


def test_two_who_send_and_wait_for_it_do_too() -> None:
    """A send is complete once it has met its receive: who counts on a buffer hangs where there is none."""
    (fault,) = match(roles(in_turn(send(1), recv(1)), in_turn(send(0), recv(0))))
    assert fault.kind == "cycle"


def test_sends_both_ways_in_one_batch_fit() -> None:
    def both(peer: int) -> Tape:
        tape = Tape()
        tape.wait(tape.post([send(peer), recv(peer)], batch=0))
        return tape

    assert match(roles(both(1), both(0))) == ()


def test_sends_both_ways_that_are_no_batch_block_each_other() -> None:
    """Even if nobody waits for the sends: NCCL serves two ranks in the order in which they issue."""

    def sends_first(peer: int) -> Tape:
        tape = Tape()
        sent = tape.post([send(peer)])
        tape.run([recv(peer)])
        tape.wait(sent)
        return tape

    (fault,) = match(roles(sends_first(1), sends_first(0)))
    assert fault.kind == "cycle"


def test_a_ring_of_three_that_all_receive_first_is_one_circle() -> None:
    ring = [in_turn(recv((number + 2) % 3), send((number + 1) % 3)) for number in range(3)]
    (fault,) = match(roles(*ring))
    assert fault.kind == "cycle"
    assert {place.role for place in fault.places} == {0, 1, 2}


def test_collectives_of_two_groups_in_another_order_are_a_circle() -> None:
    over = replace(SUM, axis="dp")
    given = roles(in_turn(SUM, over), in_turn(over, SUM))
    (fault,) = match([replace(role, groups={"pp": (0, 1), "dp": (0, 1)}) for role in given])
    assert fault.kind == "cycle"


def test_what_nobody_answers_is_left_over() -> None:
    (fault,) = match(roles(in_turn(send(1), send(1)), in_turn(recv(0))))
    assert (fault.kind, fault.places) == ("left over", (Place(0, 1),))
    assert fault.message == "stage 0 waits for stage 1, which is at its end"


def test_members_that_disagree_on_their_group_are_told_first() -> None:
    first, second = roles(in_turn(SUM), in_turn(replace(SUM, reduction="max")))
    faults = match([first, replace(second, groups={"pp": (1, 0)})])
    assert {fault.kind for fault in faults} == {"group"}
    assert faults[0].message == "stage 0 and stage 1 disagree on the groups over `pp`"


def test_a_rank_that_is_not_in_its_own_group_is_told() -> None:
    first, second = roles(in_turn(SUM), in_turn(SUM))
    faults = match([replace(first, groups={"pp": (1, 1)}), replace(second, groups={"pp": (1, 1)})])
    assert [fault.kind for fault in faults] == ["group"]
