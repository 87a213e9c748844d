"""Schedules against closed forms, and against a simulation that knows nothing of orders."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parc.cost.schedule import timeline
from parc.cost.schedule.in_flight import count_peak_at_head, find_fullest_moments
from parc.cost.schedule.timeline import StageTimes, simulate_passes, simulate_pipeline
from parc.schedule.order import order_passes
from parc.schedule.whole_backward import Pass

durations = st.floats(0.1, 10)


def spread_times(name: str, ranks: int, microbatches: int, chunks: int = 1) -> float:
    """Total time with passes of 1 forward and 2 backward on a whole rank."""
    stages = ranks * chunks
    times = StageTimes([1 / chunks] * stages, [2 / chunks] * stages)
    return simulate_pipeline(name, microbatches, times, [0.0] * (stages - 1), chunks).seconds


@pytest.mark.parametrize("name", ["1f1b", "gpipe"])
@given(ranks=st.integers(1, 12), microbatches=st.integers(1, 40))
def test_the_bubble_is_p_less_one_of_m_and_p_less_one(name: str, ranks: int, microbatches: int) -> None:
    """Also where there are fewer microbatches than stages."""
    seconds = spread_times(name, ranks, microbatches)
    bubble = 1 - 3 * microbatches / seconds
    assert bubble == pytest.approx((ranks - 1) / (microbatches + ranks - 1))


@given(
    name=st.sampled_from(["interleaved", "gpipe"]),
    ranks=st.integers(2, 8),
    rounds=st.integers(1, 6),
    chunks=st.integers(2, 4),
)
def test_chunks_shrink_the_bubble(name: str, ranks: int, rounds: int, chunks: int) -> None:
    """(p - 1) / (v m + p - 1) of the whole: arXiv:2104.04473, section 2.2; arXiv:2211.05953."""
    microbatches = rounds * ranks
    seconds = spread_times(name, ranks, microbatches, chunks)
    bubble = 1 - 3 * microbatches / seconds
    assert bubble == pytest.approx((ranks - 1) / (chunks * microbatches + ranks - 1))


def test_the_seed_s_bubbles() -> None:
    """32 microbatches through 4 stages: 3/35, not under 5% but with 2 chunks, 3/67."""
    assert 1 - 96 / spread_times("1f1b", 4, 32) == pytest.approx(3 / 35)
    assert 1 - 96 / spread_times("interleaved", 4, 32, 2) == pytest.approx(3 / 67)


@given(times=st.lists(durations, min_size=2, max_size=6), microbatches=st.integers(6, 20))
def test_the_slowest_stage_sets_the_pace(times: list[float], microbatches: int) -> None:
    """(m - 1) of the slowest and one of each is a bound from below, and met with whole passes one way."""
    passes = StageTimes(times, [0.0] * len(times))
    seconds = simulate_pipeline("gpipe", microbatches, passes, [0.0] * (len(times) - 1)).seconds
    assert seconds == pytest.approx((microbatches - 1) * max(times) + sum(times))


@given(
    name=st.sampled_from(["gpipe", "1f1b", "interleaved", "zero_bubble", "zbv", "dualpipev"]),
    ranks=st.integers(2, 5),
    rounds=st.integers(2, 4),
    data=st.data(),
)
def test_each_pass_begins_when_it_can(name: str, ranks: int, rounds: int, data: st.DataObject) -> None:
    """The longest path through what each pass waits for, found without any order of evaluation."""
    chunks = {"1f1b": 1, "zbv": 2, "dualpipev": 2}.get(name) or data.draw(st.integers(1, 3))
    stages, microbatches = ranks * chunks, ranks * rounds
    each = st.lists(durations, min_size=stages, max_size=stages)
    times = StageTimes(*(data.draw(each) for _ in StageTimes._fields))
    hops = data.draw(st.lists(durations, min_size=stages - 1, max_size=stages - 1))
    found = {event[1:4]: event for event in simulate_passes(name, microbatches, times, hops, chunks)}
    made = [order_passes(name, ranks, chunks, microbatches, rank) for rank in range(ranks)]
    assert len(found) == sum(map(len, made))
    sent = {
        (one.kind, one.stage, one.microbatch): found[(after if one.deferred else one)[:3]].end
        for passes in made
        for one, after in pairwise([*passes, passes[-1]])
    }
    for rank, passes in enumerate(made):
        before = 0.0
        for what in passes:
            event = found[what[:3]]
            assert event.rank == rank
            arrives = 0.0
            if awaited := waits_for(what, stages):
                hop = hops[min(awaited[1], what.stage)] if awaited[1] != what.stage else 0.0
                (arrives,) = {
                    sent[(kind, *awaited[1:])] for kind in awaited[0] if (kind, *awaited[1:]) in sent
                }
                arrives += hop
            assert event.begin == pytest.approx(max(before, arrives))
            assert event.end - event.begin == pytest.approx(getattr(times, what.kind)[what.stage])
            before = event.end


def waits_for(what: Pass, stages: int) -> tuple[tuple[str, ...], int, int] | None:
    """The kinds of pass that may give it, their stage and microbatch."""
    back = ("backward", "inputs")
    if what.kind == "forward":
        return (("forward",), what.stage - 1, what.microbatch) if what.stage else None
    if what.kind == "weights":
        return ("inputs",), what.stage, what.microbatch
    if what.stage == stages - 1:
        return ("forward",), what.stage, what.microbatch
    return back, what.stage + 1, what.microbatch


@given(ranks=st.integers(1, 12), microbatches=st.integers(1, 40), data=st.data())
def test_1f1b_holds_no_more_than_the_stages_that_follow(
    ranks: int, microbatches: int, data: st.DataObject
) -> None:
    rank = data.draw(st.integers(0, ranks - 1))
    assert find_fullest_moments("1f1b", ranks, 1, microbatches, rank) == (
        ((min(microbatches, ranks - rank),), (0,)),
    )
    assert find_fullest_moments("gpipe", ranks, 1, microbatches, rank) == (((microbatches,), (0,)),)


@given(ranks=st.integers(2, 8), rounds=st.integers(1, 4), chunks=st.integers(2, 4), data=st.data())
def test_interleaving_holds_more(ranks: int, rounds: int, chunks: int, data: st.DataObject) -> None:
    """min(m v, 2 (p - r - 1) + (v - 1) p + 1) chunks of a microbatch: Megatron-Core's warm-up and one."""
    rank, microbatches = data.draw(st.integers(0, ranks - 1)), ranks * rounds
    most = max(
        sum(moment.outstanding)
        for moment in find_fullest_moments("interleaved", ranks, chunks, microbatches, rank)
    )
    assert most == min(microbatches * chunks, 2 * (ranks - rank - 1) + (chunks - 1) * ranks + 1)


CHUNKS = {"1f1b": 1, "zbv": 2, "dualpipev": 2}
names = st.sampled_from(["gpipe", "1f1b", "interleaved", "zero_bubble", "zbv", "dualpipev"])


@given(name=names, ranks=st.integers(2, 5), rounds=st.integers(2, 9), data=st.data())
def test_the_fullest_moment_is_that_of_all_passes(
    name: str, ranks: int, rounds: int, data: st.DataObject
) -> None:
    """Counted pass by pass, whatever a microbatch of each chunk weighs; only three rounds are counted."""
    chunks, rank = CHUNKS.get(name) or data.draw(st.integers(1, 3)), data.draw(st.integers(0, ranks - 1))
    weights = data.draw(st.lists(durations, min_size=2 * chunks, max_size=2 * chunks))
    microbatches, full, most, head = ranks * rounds, 0.0, 0.0, 0
    ends = 0
    passes = order_passes(name, ranks, chunks, microbatches, rank)
    last = max(one.stage for one in passes)
    for one in passes:
        chunk = one.stage // ranks
        kept, halved = weights[chunk], weights[chunks + chunk]
        full += {"forward": kept, "backward": -kept, "inputs": halved, "weights": -kept - halved}[one.kind]
        most = max(most, full)
        if one.stage == last:
            ends += {"forward": 1, "weights": 0}.get(one.kind, -1)
            head = max(head, ends)
    found = find_fullest_moments(name, ranks, chunks, microbatches, rank)
    totals = (zip((*moment.outstanding, *moment.awaiting_weights), weights, strict=True) for moment in found)
    assert max(sum(count * weight for count, weight in total) for total in totals) == pytest.approx(most)
    assert count_peak_at_head(name, ranks, chunks, microbatches, rank) == head


@given(name=names, ranks=st.integers(2, 4), data=st.data())
def test_a_long_pipeline_is_played_in_part(name: str, ranks: int, data: st.DataObject) -> None:
    """Of 60 rounds the first 40, if no more may be played. Rounds repeat themselves, some only every second
    or third time, so that the mean of 20 is off by part of one: under a hundredth of 60."""
    chunks = CHUNKS.get(name) or data.draw(st.integers(1, 3))
    stages = ranks * chunks
    each = st.lists(durations, min_size=stages, max_size=stages)
    times = StageTimes(*(data.draw(each) for _ in StageTimes._fields))
    hops = data.draw(st.lists(durations, min_size=stages - 1, max_size=stages - 1))
    whole = simulate_pipeline(name, 60 * ranks, times, hops, chunks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timeline, "MAX_PASSES", 40 * ranks * stages)
        part = simulate_pipeline(name, 60 * ranks, times, hops, chunks)
    assert part.seconds == pytest.approx(whole.seconds, rel=1e-2)
    assert part.ends == pytest.approx(whole.ends, rel=1e-2)


@pytest.mark.parametrize(
    ("name", "chunks", "microbatches", "message"),
    [
        ("zbv", 1, 8, "zbv has 2 chunks a rank, not 1"),
        ("dualpipev", 2, 7, "7 microbatches are fewer than 8 stages"),
        ("zero_bubble", 1, 9, "9 microbatches are not 2 equal rounds"),
        ("zb", 1, 8, "the schedule 'zb' is unknown"),
        ("1f1b", 2, 8, "1f1b has one chunk a rank, not 2"),
        ("interleaved", 2, 9, "9 microbatches are not 2 equal rounds"),
    ],
)
def test_schedules_that_cannot_be_simulated_are_refused(
    name: str, chunks: int, microbatches: int, message: str
) -> None:
    stages = 4 * chunks
    with pytest.raises(ValueError, match=message):
        simulate_pipeline(
            name, microbatches, StageTimes([1.0] * stages, [1.0] * stages), [0.0] * (stages - 1), chunks
        )
