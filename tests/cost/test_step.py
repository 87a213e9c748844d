"""Step times: what must hold whatever the constants are."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parc.cost.job.hardware import LinkSpeed
from parc.cost.job.job import Job
from parc.cost.network import collective_times as network
from parc.cost.timing.pass_times import predict_expert_layer
from parc.cost.timing.roofline import predict_matmul
from parc.cost.timing.step import predict_step
from parc.cost.work.expert_collectives import count_ranks_per_token, count_received_rows
from parc.cost.work.part import Matmul
from tests.cost.jobs import CONSTANTS, DENSE, HARDWARE, MODEL, build_job

LESS = 1 - 1e-12  # sums in another order: where nothing should change, the last digits may

powers = st.sampled_from([1, 2, 4, 8])
recomputes = st.sampled_from(["none", "scores", "attention", "experts", "layer"])


@st.composite
def draw_jobs(draw: st.DrawFn) -> Job:
    tensor, stages, far = draw(powers), draw(st.sampled_from([1, 2, 4])), draw(powers)
    return build_job(
        draw(st.sampled_from([MODEL, DENSE])),
        tensor=(tensor, 1),
        data=(8 // tensor, far),
        pipeline=(1, stages),
        experts=(8 // tensor, 1),
        expert_data=(1, far),
        layers=(16 // stages,) * stages,
        microbatches=draw(st.integers(1, 12)),
        sequences=draw(st.sampled_from([1, 2, 4])),
        sequence_parallel=draw(st.booleans()),
        recompute=draw(recomputes),
        shard=draw(st.sampled_from(["none", "optimizer", "gradients", "parameters"])),
        overlap_gradients=draw(st.booleans()),
        overlap_tensor=draw(st.booleans()),
        flash_attention=draw(st.booleans()),
    )


def predict_seconds(job: Job) -> float:
    return predict_step(job, CONSTANTS).seconds


@given(draw_jobs(), st.floats(1, 10))
def test_a_faster_device_is_never_slower(job: Job, times: float) -> None:
    for name in ("peak_flops", "memory_bandwidth"):
        faster = replace(HARDWARE, **{name: getattr(HARDWARE, name) * times})
        assert predict_seconds(replace(job, hardware=faster)) * LESS <= predict_seconds(job)


@given(draw_jobs(), st.floats(1, 10))
def test_a_faster_network_is_never_slower(job: Job, times: float) -> None:
    faster = tuple(LinkSpeed(link.bandwidth * times, link.latency / times) for link in HARDWARE.links)
    assert predict_seconds(replace(job, hardware=replace(HARDWARE, links=faster))) * LESS <= predict_seconds(
        job
    )


@given(draw_jobs())
def test_more_microbatches_take_longer(job: Job) -> None:
    more = replace(job.parallelism, microbatches=job.parallelism.microbatches + 1)
    assert predict_seconds(replace(job, parallelism=more)) > predict_seconds(job)


@given(draw_jobs())
def test_computing_again_takes_time(job: Job) -> None:
    def with_(recompute: str) -> float:
        return predict_step(
            replace(job, parallelism=replace(job.parallelism, recompute=recompute)), CONSTANTS
        ).pipeline

    assert with_("none") < with_("scores") < with_("attention") < with_("layer")


@given(draw_jobs(), st.floats(1, 8))
def test_a_fuller_rank_of_experts_holds_all_up(job: Job, load: float) -> None:
    assert predict_seconds(replace(job, expert_imbalance=load)) >= predict_seconds(job) * LESS


@given(draw_jobs())
def test_overlap_never_costs(job: Job) -> None:
    hidden = replace(job.software, overlap_gradients=True, overlap_tensor=True)
    shown = replace(job.software, overlap_gradients=False, overlap_tensor=False)
    assert predict_seconds(replace(job, software=hidden)) * LESS <= predict_seconds(
        replace(job, software=shown)
    )


@given(draw_jobs())
def test_the_parts_of_a_step_are_the_step(job: Job) -> None:
    step = predict_step(job, CONSTANTS)
    assert step.seconds == pytest.approx(step.pipeline + step.gradients + step.optimizer + CONSTANTS.step)


@given(m=st.floats(1, 1e5), n=st.floats(1, 1e5), k=st.floats(1, 1e5))
def test_no_matmul_beats_the_roofline(m: float, n: float, k: float) -> None:
    found = predict_matmul(Matmul(m, n, k), HARDWARE, CONSTANTS, 2)
    assert found >= 2 * m * n * k / HARDWARE.peak_flops
    assert found >= 2 * (m * k + k * n + m * n) / HARDWARE.memory_bandwidth


def test_thin_matmuls_waste_the_device() -> None:
    """The same FLOPs in slices of 64 columns: a third of the speed or less."""
    whole = predict_matmul(Matmul(4096, 4096, 4096), HARDWARE, CONSTANTS, 2)
    thin = 64 * predict_matmul(Matmul(4096, 64, 4096), HARDWARE, CONSTANTS, 2)
    assert thin > 2.5 * whole


def test_a_small_model_waits_for_the_host() -> None:
    """16 layers of 20 ms of host time each: the device has long finished."""
    slow = replace(CONSTANTS, launch=20e-3)
    assert predict_step(build_job(DENSE), slow).forward[0].seconds == pytest.approx(16 * 20e-3, rel=0.05)


def test_a_rank_without_a_machine_has_no_time() -> None:
    with pytest.raises(ValueError, match="the machine is unknown"):
        predict_step(build_job(hardware=None), CONSTANTS)


def test_experts_within_a_node_beat_experts_across() -> None:
    """The seed's trap: the same 8 ranks, on one node or on 8."""
    near = predict_step(build_job(experts=(8, 1), data=(8, 1)), CONSTANTS)
    far = predict_step(build_job(experts=(1, 8), data=(1, 8)), CONSTANTS)
    assert far.forward[0].communication > 5 * near.forward[0].communication


def test_tokens_that_stay_need_a_sum_instead_of_a_dispatch() -> None:
    """Experts over ranks with the same tokens: one all-reduce of the tokens, a share of the rows."""
    stay = build_job(experts=(8, 1), dispatch_tokens=False)
    links = tuple(LinkSpeed(link.bandwidth * 0.75, link.latency) for link in HARDWARE.links)
    tokens = 2048 * 2048 * 2
    expected = 16 * (network.predict_all_reduce(tokens, (8, 1), links) + CONSTANTS.collective)
    assert predict_step(stay, CONSTANTS).forward[0].communication == pytest.approx(expected)
    assert count_received_rows(stay) == 2048 * 4 / 8


def test_a_token_is_copied_once_to_each_rank_that_has_some_of_its_experts() -> None:
    """Counted over all choices of a small case; 8 of 256 experts are on 5.29 of 8 ranks in the mean."""
    chosen = list(combinations(range(12), 3))
    counted = sum(len({expert // 3 for expert in each}) for each in chosen) / len(chosen)
    assert count_ranks_per_token(12, 4, 3) == pytest.approx(counted)
    assert count_ranks_per_token(256, 8, 8) == pytest.approx(5.29, abs=0.01)
    assert count_ranks_per_token(8, 1, 2) == 1.0


def test_a_layer_of_experts_by_itself_is_part_of_a_step() -> None:
    forward, backward = predict_expert_layer(build_job(experts=(8, 1)), CONSTANTS)
    step = predict_step(build_job(experts=(8, 1)), CONSTANTS)
    assert 16 * forward < step.forward[0].seconds < 20 * forward + 20 * backward


def test_gradients_of_experts_are_summed_over_fewer_ranks() -> None:
    """Experts that no other rank holds have nothing to sum."""
    alone = predict_step(build_job(data=(8, 4), experts=(8, 4), expert_data=(1, 1)), CONSTANTS)
    copied = predict_step(build_job(data=(8, 4), experts=(8, 1), expert_data=(1, 4)), CONSTANTS)
    assert alone.gradients < copied.gradients
