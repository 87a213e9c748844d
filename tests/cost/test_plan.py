"""A resolved plan as a job: sizes, groups, links."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from parc.check.load import load_text
from parc.cost.explain import (
    count_devices,
    explain_flops,
    explain_memory,
    explain_mfu,
    explain_step,
    explain_traffic,
)
from parc.cost.job.from_plan import derive_job
from parc.cost.job.hardware import LinkSpeed
from parc.cost.job.job import Job
from parc.cost.memory import parameters
from parc.cost.network.traffic import derive_traffic
from parc.cost.timing.constants import find_nearest_calibration, load_calibrations
from parc.cost.timing.step import predict_step
from parc.plan.blocks import Plan
from parc.source import Source

FARM = """
cluster farm {
  levels = [fabric: 8, node: 16]
  device { compute = COMPUTE, memory = 64 GB, memory_bandwidth = 1.8 TB/s }
  link node   { bandwidth = 900 GB/s, latency = 3 us }
  link fabric { bandwidth = 50 GB/s, latency = 8 us }
}
model moe {
  source = "moe.py:MoETransformer"
  shape {
    layers = 16, hidden = 1024, heads = 16, kv_heads = 4, ffn = 2048, gated = true
    experts = 64, top_k = 2, vocab = 32000
  }
}
train first {
  model = moe
  batch { sequences = 256, length = 1024, microbatches = 32 }
  precision { compute = bf16, master = fp32 }
}
plan wide for first on farm {
BODY
}
"""
SEED = """
  mesh = [ep: 8, pp: 4, tp: 4]
  data over [ep] { shard = optimizer }
  tensor over [tp] { sequence = true }
  experts over [ep] { tensor = [tp] }
  pipeline over [pp]
"""


def load_plan(body: str, compute: str = "400 TFLOPS", text: str = FARM) -> Plan:
    loaded = load_text(Source("plan.parc", text.replace("BODY", body).replace("COMPUTE", compute)))
    assert loaded.plans, loaded.diagnostics
    return loaded.plans[0]


def derive(body: str, **how: str) -> Job:
    job = derive_job(load_plan(body, **how))
    assert job is not None
    return job


def test_the_seed_s_groups_lie_where_the_audit_found_them() -> None:
    """A node has 16 devices: tensor and pipeline groups stay in one, experts and data span all eight."""
    reach = derive(SEED).parallelism.groups
    assert reach.tensor == (4, 1)
    assert reach.pipeline == (4, 1)
    assert reach.experts == reach.data == (1, 8)
    assert reach.expert_tensor == (4, 1)
    assert reach.expert_data == (1,)


def test_links_are_innermost_first() -> None:
    job = derive(SEED)
    assert job.require_hardware().links == (LinkSpeed(900e9, 3e-6), LinkSpeed(50e9, 8e-6))
    assert count_devices(job) == 128


def test_a_microbatch_is_shared_out_over_the_data_ranks() -> None:
    """256 sequences / 32 microbatches / 8 data ranks: one each."""
    job = derive(SEED)
    assert job.parallelism.sequences == 1
    assert job.tokens == 1024


def test_copies_of_experts_are_on_the_data_axes_that_carry_none() -> None:
    job = derive("mesh = [dp: 4, ep: 32]\n data over [dp, ep]\n experts over [ep]")
    assert job.degrees.data == 128
    assert job.parallelism.groups.experts == (16, 2)
    assert job.parallelism.groups.expert_data == (1, 4)
    assert job.parallelism.dispatch_tokens


def test_experts_beside_the_data_compute_on_the_same_tokens() -> None:
    job = derive("mesh = [dp: 16, ep: 8]\n data over [dp]\n experts over [ep]")
    assert not job.parallelism.dispatch_tokens


@pytest.mark.parametrize(("sequence", "travel"), [("false", False), ("true", True)])
def test_experts_over_the_axis_of_tensors_get_tokens_that_lie_along_it(sequence: str, travel: bool) -> None:
    job = derive(
        f"""
        mesh = [dp: 32, tp: 4]
        data    over [dp]
        tensor  over [tp] {{ sequence = {sequence} }}
        experts over [tp]
        """
    )
    assert job.parallelism.dispatch_tokens == travel
    assert job.parallelism.terms_over_tensor != travel


def test_mixed_precision_keeps_a_copy() -> None:
    """bf16 with fp32 masters: 2 + 4 + 4 + 8 bytes a parameter; fp32 alone: 4 + 4 + 8."""
    mixed = derive(SEED).software
    assert (mixed.element_bytes, mixed.gradient_bytes, mixed.optimizer_bytes) == (2, 4, 12)
    plain = derive(SEED, text=FARM.replace("compute = bf16", "compute = fp32")).software
    assert (plain.element_bytes, plain.gradient_bytes, plain.optimizer_bytes) == (4, 4, 8)
    assert mixed.reduce_bytes == plain.reduce_bytes == 4
    assert (mixed.conversion_bytes, plain.conversion_bytes) == (0, 0)


def test_gradients_are_sent_in_the_type_that_a_plan_states() -> None:
    whole = derive(SEED)
    half = derive(SEED, text=FARM.replace("master = fp32", "master = fp32, reduce = bf16"))
    assert (half.software.gradient_bytes, half.software.reduce_bytes) == (4, 2)
    (sent, sent_in_half) = (
        [each.bytes for each in derive_traffic(job, 0) if "gradients" in each.purpose]
        for job in (whole, half)
    )
    assert sent
    assert sent_in_half == [bytes / 2 for bytes in sent]


@pytest.mark.parametrize(
    ("types", "kept", "converted"),
    [
        ("master = fp32, moments = bf16", 4 + 2 * 2, 2 * (4 + 4 + 4 + 4)),
        ("master = bf16, moments = fp32", 2 * 4, 4 + 4 + 4 + 4),
    ],
)
def test_moments_of_another_type_are_converted_for_an_update(types: str, kept: int, converted: int) -> None:
    """Each is written once more and read once more in fp32, and the update reads and writes fp32."""
    software = derive(SEED, text=FARM.replace("master = fp32", types)).software
    assert (software.optimizer_bytes, software.conversion_bytes) == (kept, converted)


def test_an_incomplete_shape_has_no_job() -> None:
    assert (
        derive_job(load_plan("mesh = [dp: 128]\n data over [dp]", text=FARM.replace("vocab = 32000", "")))
        is None
    )


def test_memory_and_traffic_need_no_machine() -> None:
    """The device is not described: bytes are predicted, seconds are not."""
    device = "  device { compute = COMPUTE, memory = 64 GB, memory_bandwidth = 1.8 TB/s }\n"
    job = derive(SEED, text=FARM.replace(device, ""))
    assert explain_memory(job, 0).value == explain_memory(derive(SEED), 0).value
    assert explain_traffic(job, 0)
    with pytest.raises(ValueError, match="the machine is unknown"):
        explain_step(job)


def test_figures_say_how_they_came_about() -> None:
    peak = explain_memory(derive(SEED), 0)
    parts = {part.name: part for part in peak.parts}
    assert peak.grade == "estimated"
    assert parts["parameters"].grade == parts["optimizer"].grade == "exact"
    assert peak.value == pytest.approx(sum(part.value for part in peak.parts))


OVER_TWO = """
  mesh = [dp: 2, ep: 8, tp: 8]
  data over [dp, ep] { shard = SHARD }
  tensor over [tp]
  experts over [ep]
"""


@pytest.mark.parametrize("body", [SEED, OVER_TWO, "mesh = [dp: 128]\n data over [dp] { shard = SHARD }"])
@pytest.mark.parametrize("shard", ["none", "optimizer", "gradients", "parameters"])
def test_the_arithmetic_that_is_printed_gives_the_figure(body: str, shard: str) -> None:
    """Experts are held by fewer ranks than all else: what is sharded is not divided alike."""
    job = derive(body.replace("shard = optimizer", "shard = SHARD").replace("SHARD", shard))
    for rank in range(job.degrees.pipeline):
        state = {part.name: part for part in explain_memory(job, rank).parts if part.grade == "exact"}
        assert set(state) == {"parameters", "gradients", "optimizer"}
        for part in state.values():
            sum_ = re.sub("data ranks|copies|of experts|outside layers|B|,", "", part.how).replace("x", "*")
            assert re.fullmatch(r"[\d */+]+", sum_), part.how
            assert eval(sum_) == pytest.approx(part.value, rel=1e-12), part.how  # all sizes divide evenly


def test_experts_are_divided_among_their_own_copies() -> None:
    """A layer's experts: 64 / 8 x 3 x 1,024 x 2,048; of 16 data ranks two hold the same ones."""
    parts = {
        part.name: part for part in explain_memory(derive(OVER_TWO.replace("SHARD", "optimizer")), 0).parts
    }
    experts = 16 * 8 * 3 * 1024 * 2048
    assert parts["optimizer"].how.endswith(
        f" x 12 B / 16 data ranks + {experts:,} of experts x 12 B / 2 copies"
    )


def test_a_stage_without_a_head_has_no_logits() -> None:
    many = FARM.replace("vocab = 32000", "vocab = 1024000")  # words, whose logits are more than gradients
    job = derive("mesh = [pp: 4, dp: 32]\n data over [dp]\n pipeline over [pp]", text=many)
    kinds = [[part.name for part in explain_memory(job, rank).parts] for rank in (0, 3)]
    assert kinds[0] == ["parameters", "gradients", "optimizer", "activations", "working"]
    assert kinds[1] == ["parameters", "gradients", "optimizer", "activations", "logits"]


def test_an_all_to_all_is_expected_all_else_exact() -> None:
    """4 layers x 32 microbatches, there and back; rows of 2 bytes x 1,024. Experts are split: each rank of
    `tp` has all tokens of the microbatch, and sends both choices of each."""
    figures = {each.name: each for each in explain_traffic(derive(SEED), 0)}
    there = figures["experts, forward: all_to_all over experts"]
    assert there.grade == "expected"
    assert there.value == 4 * 32 * 2 * (1024 * 2 * 1024 * 2)
    gradients = figures["gradients of all but the experts: reduce_scatter over data"]
    assert gradients.grade == "exact"
    assert "gradients of experts: reduce_scatter over expert_data" not in figures


@pytest.mark.parametrize(("compute", "grade"), [("400 TFLOPS", "estimated"), ("989 TFLOPS", "calibrated")])
def test_times_are_calibrated_on_machines_that_were_measured(compute: str, grade: str) -> None:
    assert explain_step(derive(SEED, compute=compute)).grade == grade


@pytest.mark.parametrize("type_", ["fp32", "fp64"])
def test_times_of_wider_types_are_not_calibrated(type_: str) -> None:
    """The peak of the data sheet and all measured runs are of 16 bits."""
    text = FARM.replace("compute = bf16, master = fp32", f"compute = {type_}, master = {type_}")
    step = explain_step(derive(SEED, compute="989 TFLOPS", text=text))
    assert step.grade == "estimated"
    assert f"the peak of 989 TFLOP/s are those of 16 bits: {type_[2:]} bits take longer" in step.parts[0].how


PEAKS = "989 TFLOPS, compute_fp32 = 67 TFLOPS, compute_fp64 = 33 TFLOPS"


@pytest.mark.parametrize(("type_", "peak"), [("bf16", 989e12), ("fp32", 67e12), ("fp64", 33e12)])
def test_each_precision_has_its_peak(type_: str, peak: float) -> None:
    """Arithmetic and MFU use it. Constants are chosen by the peak in 16 bits."""
    master = "fp32" if type_ == "bf16" else type_
    text = FARM.replace("compute = bf16, master = fp32", f"compute = {type_}, master = {master}")
    job = derive(SEED, compute=PEAKS, text=text)
    assert job.require_hardware().peak_flops == peak
    assert (
        find_nearest_calibration(job.require_hardware()).kind
        == find_nearest_calibration(derive(SEED, compute="989 TFLOPS").require_hardware()).kind
    )
    step = explain_step(job)
    assert step.grade == ("calibrated" if type_ == "bf16" else "estimated")
    assert explain_mfu(job).value == pytest.approx(explain_flops(job).value / step.value / peak)
    if type_ != "bf16":
        how = f"of 16 bits, the peak of {peak / 1e12:g} TFLOP/s is that of {type_[2:]} bits"
        assert how in step.parts[0].how


def test_a_step_in_fp32_takes_longer_by_what_its_products_do() -> None:
    """On 989 and on 67 TFLOPS, of tensors as large: matmuls that the peak bounds take 14.8 times as long."""
    text = FARM.replace("compute = bf16", "compute = fp32")
    bound = {
        "hidden = 1024": "hidden = 8192",
        "ffn = 2048": "ffn = 32768",
        "microbatches = 32": "microbatches = 8",
    }
    for one, other in bound.items():
        text = text.replace(one, other)
    fast, slow = (
        predict_step(
            derive(SEED, compute=compute, text=text),
            find_nearest_calibration(derive(SEED).require_hardware()).constants,
        )
        for compute in ("989 TFLOPS", PEAKS)
    )
    assert 8 < slow.forward[1].compute / fast.forward[1].compute < 989 / 67


def test_the_seed_s_mfu_claim_does_not_hold() -> None:
    """60% is claimed. The figure is the step's arithmetic over its time and the devices' peak."""
    job = derive(SEED)
    mfu, step = explain_mfu(job), explain_step(job)
    assert mfu.value == pytest.approx(explain_flops(job).value / step.value / 400e12)
    assert mfu.value < 0.1


def test_every_calibration_names_what_it_was_fitted_to() -> None:
    for known in load_calibrations().values():
        assert known.rows > 0
        assert known.fitted
        assert 0 < known.error < 0.15
        for share in ("matmul", "attention", "memory", "inner", "outer"):
            assert 0 < getattr(known.constants, share) < 1


def test_a_shape_may_have_layers_of_several_kinds() -> None:
    """Of 16 layers 4 have attention, 8 have experts; the other 8 have an FFN of 512 numbers."""
    kinds = (
        "vocab = 32000, attention_layers = 4, expert_layers = 8, dense_ffn = 512, tied = true, other = 1600"
    )
    text = FARM.replace("vocab = 32000", kinds)
    job = derive("mesh = [pp: 4, dp: 32]\n data over [dp]\n pipeline over [pp]", text=text)
    of = job.architecture
    assert [(each.dense_layers, each.moe_layers, each.no_attention) for each in job.stages] == 4 * [(2, 2, 3)]
    plain = replace(of, no_attention=0, scattered_layers=0, tied=False, other=0)
    less = 12 * parameters.count_attention(of)
    less += 8 * (parameters.count_layer(of, True) - parameters.count_layer(of, False)) + 32000 * of.hidden
    assert parameters.count_model(plain) - parameters.count_model(of) == less - 1600
    held = sum(parameters.count_rank_parameters(job, stage).total for stage in job.stages)
    assert held == parameters.count_model(of) + 32000 * of.hidden  # a tied table is on both ends
    assert explain_step(job).value < explain_step(replace(job, architecture=plain)).value
    more = replace(of, other=10**9)
    assert explain_step(replace(job, architecture=more)).value > explain_step(job).value
    assert explain_memory(replace(job, architecture=more), 0).value > explain_memory(job, 0).value


def test_layers_without_an_ffn_take_no_time_for_it() -> None:
    text = FARM.replace("vocab = 32000", "vocab = 32000, expert_layers = 8, dense_ffn = 0")
    job = derive("mesh = [dp: 128]\n data over [dp]", text=text)
    wide = replace(job.architecture, dense_ffn=64)
    assert parameters.count_model(wide) - parameters.count_model(job.architecture) == 8 * 3 * 64 * 1024
    assert explain_step(job).value < explain_step(replace(job, architecture=wide)).value


def test_latent_attention_is_counted_as_its_matrices() -> None:
    """Of 1,536 and 512 compressed numbers; heads of 128 + 64 in queries and keys, of 128 in values."""
    text = FARM.replace("vocab = 32000", "vocab = 32000, latent = [1536, 512, 128, 64, 128]")
    of = derive("mesh = [dp: 128]\n data over [dp]", text=text).architecture
    queries = 1024 * 1536 + 1536 + 1536 * of.heads * (128 + 64)
    pairs = 1024 * (512 + 64) + 512 + 512 * of.heads * (128 + 128)
    assert parameters.count_attention(of) == queries + pairs + of.heads * 128 * 1024
    plain = replace(of, latent=None)
    multiplied = parameters.count_active(of) - parameters.count_active(plain)
    more = queries + pairs - 1536 - 512 + of.heads * 128 * 1024 - parameters.count_attention(plain)
    assert multiplied == of.layers * more  # a norm is no product


def test_what_makes_the_vectors_of_a_low_rank_is_whole_on_every_rank_of_tensor() -> None:
    text = FARM.replace("vocab = 32000", "vocab = 32000, latent = [1536, 512, 128, 64, 128]")
    plain = parameters.count_latent_inputs(
        derive("mesh = [dp: 128]\n data over [dp]", text=text).architecture
    )
    job = derive("mesh = [dp: 32, tp: 4]\n data over [dp]\n tensor over [tp]", text=text)
    (stage,) = job.stages
    held = parameters.count_rank_parameters(job, stage)
    norms = 2 * 1024 + 1536 + 512
    router = job.architecture.experts * 1024
    assert plain == 1024 * (1536 + 512 + 64)
    assert held.replicated == 16 * (plain + norms + router) + 1024


@pytest.mark.parametrize("sizes", ["[1, 2]", "[0, 0, 1, 1, 1]", "[0, 8, 0, 0, 8]", "[8, 8, 8, 8, 0]"])
def test_latent_attention_has_five_sizes(sizes: str) -> None:
    text = FARM.replace("vocab = 32000", f"vocab = 32000, latent = {sizes}").replace("COMPUTE", "1 TFLOPS")
    text = text.replace("BODY", "mesh = [dp: 128]\n data over [dp]")
    fault = load_text(Source("plan.parc", text)).diagnostics[0]
    assert fault.span is not None
    assert (fault.code, fault.span.text) == ("P106", sizes)
