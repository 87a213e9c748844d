"""Schedules that split the backward pass, against what their authors say of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parc.cost.memory.peak import predict_memory
from parc.cost.network.traffic import derive_traffic
from parc.cost.schedule.in_flight import find_fullest_moments
from parc.cost.schedule.timeline import StageTimes, TimedPass, simulate_passes
from parc.cost.timing.step import predict_step
from parc.cost.work import stage as layer
from tests.cost.jobs import CONSTANTS, DENSE, build_job


def simulate(name: str, ranks: int, microbatches: int, times: tuple[float, float, float]) -> list[TimedPass]:
    """With passes of `times` (forward, inputs, weights) on a whole rank."""
    chunks = 1 if name == "zero_bubble" else 2
    forward, inputs, weights = ([each / chunks] * ranks * chunks for each in times)
    whole = [one + other for one, other in zip(inputs, weights, strict=True)]
    hops = [0.0] * (ranks * chunks - 1)
    return simulate_passes(name, microbatches, StageTimes(forward, whole, inputs, weights), hops, chunks)


def measure_spans(passes: list[TimedPass], ranks: int) -> list[float]:
    """Of each rank, from its first pass to its last."""
    mine = [[each for each in passes if each.rank == rank] for rank in range(ranks)]
    return [max(each.end for each in some) - min(each.begin for each in some) for some in mine]


@given(
    ranks=st.integers(2, 8),
    rounds=st.integers(1, 4),
    forward=st.floats(0.5, 2),
    inputs=st.floats(0.5, 2),
    weights=st.floats(0.1, 0.5),
)
def test_zb_h1_waits_for_p_less_one_of_a_forward_pass_and_both_halves_less_two_of_one(
    ranks: int, rounds: int, forward: float, inputs: float, weights: float
) -> None:
    """(p - 1) (F + B - W), where W is no longer than F or B: arXiv:2401.10241."""
    times, microbatches = (forward, inputs, weights), rounds * ranks
    waits = max(
        measure_spans(simulate("zero_bubble", ranks, microbatches, times), ranks)
    ) - microbatches * sum(times)
    assert waits == pytest.approx((ranks - 1) * (forward + inputs - weights))


@given(ranks=st.integers(2, 8), more=st.integers(0, 20))
def test_zbv_has_no_bubble_where_all_passes_take_the_same_time(ranks: int, more: int) -> None:
    """arXiv:2401.10241, section 6. Ranks begin one after the other, and end so: a step whose optimizers start
    together has p - 1 passes of a chunk on top."""
    microbatches = 2 * ranks - 1 + more
    passes = simulate("zbv", ranks, microbatches, (2, 2, 2))
    assert measure_spans(passes, ranks) == [6 * microbatches] * ranks
    assert max(each.end for each in passes) == 6 * microbatches + ranks - 1


@given(ranks=st.integers(2, 8), more=st.integers(0, 20))
def test_dualpipev_s_bubble(ranks: int, more: int) -> None:
    """(PP / 2 - 1) (F&B + B - 3 W) of a chunk with PP chunks, B both halves: DeepSeek's table; without any
    overlap F&B is F + B."""
    microbatches = 2 * ranks + more
    passes = simulate("dualpipev", ranks, microbatches, (2, 2, 2))
    assert max(measure_spans(passes, ranks)) - 6 * microbatches == (ranks - 1) * ((1 + 2) + 2 - 3)


@given(ranks=st.integers(2, 8), rounds=st.integers(2, 4), data=st.data())
def test_zb_h1_holds_what_1f1b_s_first_rank_holds(ranks: int, rounds: int, data: st.DataObject) -> None:
    """p microbatches on every rank (arXiv:2401.10241), and of the later ranks' more that are half done."""
    rank = data.draw(st.integers(0, ranks - 1))
    (moment,) = find_fullest_moments("zero_bubble", ranks, 1, rounds * ranks, rank)
    assert moment == ((ranks,), (rank + 1,))


@given(ranks=st.integers(2, 8), more=st.integers(0, 20), data=st.data())
def test_a_v_holds_the_same_on_every_rank(ranks: int, more: int, data: st.DataObject) -> None:
    """2 p chunks, as many as 1F1B's first rank has (arXiv:2401.10241); DualPipe one more (its own table)."""
    rank = data.draw(st.integers(0, ranks - 1))
    microbatches = 2 * ranks + more
    zbv = max(sum(moment.outstanding) for moment in find_fullest_moments("zbv", ranks, 2, microbatches, rank))
    dual = max(
        sum(moment.outstanding) for moment in find_fullest_moments("dualpipev", ranks, 2, microbatches, rank)
    )
    assert (zbv, dual) == (2 * ranks, 2 * ranks + 1)


def build_split(name: str, **layout: Any) -> Any:
    chunks = 1 if name == "zero_bubble" else 2
    layers = (16 // (4 * chunks),) * 4 * chunks
    return build_job(
        DENSE, schedule=name, chunks=chunks, layers=layers, microbatches=8, **{"pipeline": (4, 1), **layout}
    )


@pytest.mark.parametrize("name", ["zero_bubble", "zbv", "dualpipev"])
def test_halves_of_a_pass_are_all_of_it(name: str) -> None:
    """Arithmetic of parameters' gradients apart, all else is in the first half; but of the first stage, where
    PyTorch has all in the second."""
    found = predict_step(build_split(name), CONSTANTS)
    inputs, weights = found.halves
    assert inputs[0] == (0, 0, 0)
    assert weights[0] == found.backward[0]
    for one, other, whole in list(zip(inputs, weights, found.backward, strict=True))[1:]:
        assert one + other == pytest.approx(whole)
        assert other.communication == 0 < other.compute < one.compute


def test_a_zero_bubble_step_is_shorter_than_one_of_1f1b() -> None:
    """By what the bubble is shorter, at most. Halves are played, so that a longer second half would show."""
    plain, halved = (
        predict_step(replace_schedule(build_split("zero_bubble"), name), CONSTANTS) for name in PAIR
    )
    weights = max(each.seconds for each in halved.halves[1])
    assert plain.pipeline - 2 * 3 * weights <= halved.pipeline < plain.pipeline


PAIR = ("1f1b", "zero_bubble")


def replace_schedule(job: Any, name: str) -> Any:
    return replace(job, parallelism=replace(job.parallelism, schedule=name))


def test_memory_between_the_halves() -> None:
    """Rank 3 of `zero_bubble`: 4 microbatches of 1F1B's rank 0 in its own 4 layers, and for all 4 of them the
    gradients of what the matmuls of 4 layers and of the head gave."""
    job = build_split("zero_bubble")
    whole = replace_schedule(job, "1f1b")
    layers = [part for count, part in layer.derive_parts(job, job.stages[3]) for _ in range(count)]
    outputs = sum(
        each.m * each.n * each.batch for part in layers for each in part.matmuls if each.has_parameter
    )
    assert predict_memory(job, 3).activations == pytest.approx(
        4 * (predict_memory(whole, 3).activations + 2 * outputs)
    )
    assert predict_memory(job, 0).activations == pytest.approx(predict_memory(whole, 0).activations)


@pytest.mark.parametrize("name", ["zbv", "dualpipev"])
def test_the_rank_in_the_point_of_a_v_sends_nothing_to_itself(name: str) -> None:
    """Two ranks are on each node: the middle one of the links, down and up, is slower."""
    job = build_split(name, pipeline=(2, 2))
    assert [job.find_rank(place) for place in range(8)] == [0, 1, 2, 3, 3, 2, 1, 0]
    sends = [
        [each.purpose for each in derive_traffic(job, place) if each.kind == "send"] for place in range(8)
    ]
    both = ["activations", "gradients of activations"]
    assert sends == [both[:1], both, both, both[1:], both[:1], both, both, both[1:]]
    hops = predict_step(job, CONSTANTS).hops
    assert hops[3] == 0
    assert 0 < hops[0] == hops[2] < hops[1]
    assert hops[:3] == hops[:3:-1]
