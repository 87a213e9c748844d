"""What hides what, what is sent once, and what waits for the fullest: each against a closed form."""

from __future__ import annotations

from dataclasses import replace

import pytest

from parc.cost.job.from_plan import derive_job
from parc.cost.job.hardware import LinkSpeed
from parc.cost.job.job import Job
from parc.cost.job.software import Software
from parc.cost.memory.parameters import count_rank_parameters
from parc.cost.network import collective_times as network
from parc.cost.network.traffic import derive_traffic
from parc.cost.timing.pass_times import PassTime
from parc.cost.timing.roofline import predict_matmul, predict_matmul_gradient
from parc.cost.timing.step import predict_step
from parc.cost.work.expert_collectives import count_ranks_per_token
from parc.cost.work.part import Matmul
from tests.cost.jobs import CONSTANTS, DENSE, HARDWARE, MODEL, build_job
from tests.cost.test_plan import SEED, load_plan

FREE = (LinkSpeed(450e9, 0.0), LinkSpeed(50e9, 0.0))


def find_dispatch_bytes(job: Job) -> float:
    """Bytes of one dispatch."""
    (found,) = {each.bytes for each in derive_traffic(job, 0) if each.kind == "all_to_all" and each.routed}
    return found


def test_an_emitted_program_hides_no_collective() -> None:
    """Gradients are summed after the last backward pass, values before the matmul that takes them."""
    job = derive_job(load_plan(SEED))
    assert job is not None
    assert not job.software.overlap_gradients
    assert not job.software.overlap_tensor
    assert not job.software.deduplicate_tokens
    assert not job.software.fused_accumulation


def test_sums_of_gradients_hide_behind_the_last_backward_pass() -> None:
    """All but what lasts longer, and one bucket of twenty."""
    shown = predict_step(build_job(DENSE, data=(8, 4), overlap_gradients=False), CONSTANTS)
    hidden = predict_step(build_job(DENSE, data=(8, 4), overlap_gradients=True), CONSTANTS)
    (back,) = shown.backward
    assert hidden.gradients == pytest.approx(max(shown.gradients - back.seconds, shown.gradients / 20))
    assert hidden.gradients < shown.gradients


def test_one_piece_of_a_tensor_s_collectives_is_seen_if_matmuls_last() -> None:
    """Of two: a half. The embedding is a lookup, so no matmul hides its sum."""
    slow = replace(HARDWARE, peak_flops=1e13)
    how = {"tensor": (2, 1), "sequence_parallel": True}
    shown, hidden = (
        predict_step(build_job(DENSE, slow, overlap_tensor=overlap, **how), CONSTANTS).forward[0]
        for overlap in (False, True)
    )
    links = tuple(LinkSpeed(link.bandwidth * 0.75, link.latency) for link in HARDWARE.links)
    whole = network.predict_all_gather(2048 * 2048 * 2, (2, 1), links) + CONSTANTS.collective
    looked_up = 2 * 2 * 2048 * 2048 / (HARDWARE.memory_bandwidth * CONSTANTS.memory)
    words = max(whole / 2, whole - looked_up)
    assert hidden.communication - words == pytest.approx((shown.communication - whole) / 2)


def test_a_token_is_sent_once_to_a_rank_if_tokens_are_deduplicated() -> None:
    """4 choices of 32 experts on 8 ranks: to 3.4 ranks in the mean."""
    each, once = (build_job(experts=(8, 1), deduplicate_tokens=yes) for yes in (False, True))
    assert find_dispatch_bytes(each) == 2048 * 4 * 2048 * 2
    assert find_dispatch_bytes(once) == pytest.approx(2048 * count_ranks_per_token(32, 8, 4) * 2048 * 2)
    assert count_ranks_per_token(32, 8, 4) == pytest.approx(3.4, abs=0.05)


def test_the_fullest_rank_sets_rows_and_bytes() -> None:
    """Twice the mean: twice the bytes to it, and matmuls of twice the rows."""
    even, twice = (build_job(experts=(8, 1), expert_imbalance=load) for load in (1.0, 2.0))
    assert find_dispatch_bytes(twice) == 2 * find_dispatch_bytes(even)
    assert derive_job(load_plan(SEED), expert_imbalance=2.0).expert_imbalance == 2.0  # type: ignore[union-attr]
    rows = 2048 * 4 / 4  # of each local expert

    def matmuls(rows: float) -> float:
        sides = (2 * MODEL.ffn, MODEL.hidden), (MODEL.hidden, MODEL.ffn)
        return sum(predict_matmul(Matmul(rows, n, k, 4), HARDWARE, CONSTANTS, 2) for n, k in sides)

    more = matmuls(2 * rows) - matmuls(rows)
    grown = (
        predict_step(twice, CONSTANTS).forward[0].compute - predict_step(even, CONSTANTS).forward[0].compute
    )
    rows_moved = 2 * 2048 * 4 * (4 * MODEL.hidden + 3 * MODEL.ffn)  # 2 bytes of each number
    moved = rows_moved / (HARDWARE.memory_bandwidth * CONSTANTS.memory)
    assert grown == pytest.approx(16 * (more + moved))


def test_a_slow_fabric_is_left_to_one_share_of_the_bytes() -> None:
    """8 in each of 4 nodes: within the node first, so that 1/8 of the bytes crosses; once it is slow enough,
    that beats a ring through all, whose every byte crosses with the links of 8."""
    slow = (LinkSpeed(450e9, 0.0), LinkSpeed(10e9, 0.0))
    level = 2 * 7 / 8 * 1e9 / 450e9 + 2 * 3 / 4 * 1e9 / 8 / 10e9
    ring = 2 * 31 / 32 * 1e9 / (8 * 10e9)
    assert level < ring
    assert network.predict_all_reduce(1e9, (8, 4), slow) == pytest.approx(level)
    assert network.predict_all_reduce(1e9, (8, 4), FREE) < level
    assert network.predict_all_gather(1e9, (8, 4), slow) == pytest.approx(level / 2)


@pytest.mark.parametrize("slower", [0, 1])
def test_an_all_to_all_is_as_fast_as_its_slower_level(slower: int) -> None:
    """Of 16 ranks on two nodes 8/16 of the bytes cross and 7/16 stay: the slower decides, whichever it is."""
    links = [LinkSpeed(100e9, 0.0), LinkSpeed(100e9, 0.0)]
    links[slower] = LinkSpeed(10e9, 0.0)
    share = (7 / 16, 8 / 16)[slower]
    assert network.predict_all_to_all(1e9, (8, 2), tuple(links)) == pytest.approx(share * 1e9 / 10e9)


def test_a_weight_s_gradient_is_read_and_written_at_every_microbatch() -> None:
    """A matmul of few rows: adding up numbers of 4 bytes is what takes the time, in one kernel or two."""
    few = Matmul(16, 8192, 8192)
    bandwidth = HARDWARE.memory_bandwidth * CONSTANTS.memory
    once = predict_matmul(few, HARDWARE, CONSTANTS, 2)
    sides, weight = 2 * 16 * 8192 * 2, 8192 * 8192
    fused = (
        predict_matmul_gradient(few, HARDWARE, CONSTANTS, Software(gradient_bytes=4, fused_accumulation=True))
        - once
    )
    apart = (
        predict_matmul_gradient(
            few, HARDWARE, CONSTANTS, Software(gradient_bytes=4, fused_accumulation=False)
        )
        - once
    )
    assert fused == pytest.approx((sides + 8 * weight) / bandwidth)
    assert apart == pytest.approx((sides + 2 * weight + 10 * weight) / bandwidth)
    scores = few._replace(has_parameter=False)
    assert predict_matmul_gradient(scores, HARDWARE, CONSTANTS, Software()) == 2 * once


def test_the_longer_of_host_and_device_counts() -> None:
    """Far from each other the longer counts; alike, a fifth more: 2 ** (1 / 4)."""
    assert PassTime(1.0, 1.0, 0.1).seconds == pytest.approx(2.0, rel=1e-5)
    assert PassTime(0.5, 0.5, 1.0).seconds == pytest.approx(2**0.25)


@pytest.mark.parametrize("far", [1, 4])
def test_gathers_of_sharded_parameters_hide_behind_layers(far: int) -> None:
    """But for the first of 16. Over a slow fabric each lasts longer than a layer: the difference is seen."""
    links = (LinkSpeed(450e9, 0.0), LinkSpeed(1e9, 0.0))
    machine = replace(HARDWARE, links=links)
    reached = tuple(LinkSpeed(link.bandwidth * 0.75, 0.0) for link in links)
    whole, sharded = (
        predict_step(build_job(DENSE, machine, data=(8, far), shard=shard), CONSTANTS).forward[0]
        for shard in ("none", "parameters")
    )
    job = build_job(DENSE, machine, data=(8, far))
    layer = count_rank_parameters(job, job.stages[0]).total / 16 * 2
    gather = network.predict_all_gather(layer, (8, far), reached) + CONSTANTS.collective
    late = max(0.0, gather - (whole.compute + whole.communication) / 16)
    assert (late > 0) == (far == 4)
    assert sharded.communication - whole.communication == pytest.approx(gather + 15 * late)


def test_ranks_that_hold_the_same_may_pass_a_part_each() -> None:
    """Eight ranks of `tensor` in a node: an eighth of all over the fabric, and a gather in the node."""
    far = {"tensor": (8, 1), "pipeline": (1, 2), "layers": (8, 8)}
    links = (LinkSpeed(450e9 * 0.75, 3e-6), LinkSpeed(50e9 * 0.75, 8e-6))
    bytes = 2048 * 2048 * 2
    (whole,) = predict_step(build_job(DENSE, **far), CONSTANTS).hops
    (part,) = predict_step(build_job(DENSE, scatter_sends=True, **far), CONSTANTS).hops
    assert whole == pytest.approx(8e-6 + bytes / links[1].bandwidth)
    gather = network.predict_all_gather(bytes, (8, 1), links)
    assert part == pytest.approx(8e-6 + bytes / 8 / links[1].bandwidth + gather)
    (already,) = predict_step(
        build_job(DENSE, scatter_sends=True, sequence_parallel=True, **far), CONSTANTS
    ).hops
    assert already == pytest.approx(8e-6 + bytes / 8 / links[1].bandwidth)
