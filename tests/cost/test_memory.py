"""Memory: published formulae for activations, ZeRO's bytes, and what each remedy does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parc.cost.explain import explain_memory
from parc.cost.job.job import Job
from parc.cost.memory import parameters
from parc.cost.memory.peak import predict_memory
from parc.cost.validate.models import build_gpt
from parc.cost.work import stage as layer
from parc.cost.work.attention import derive_attention, derive_scores
from tests.cost.jobs import DENSE, MODEL, build_job

GPT = build_gpt(4, 4096, 32, 2048)
SBH, HEADS = 2048 * 4096, 5 * 32 * 2048 / 4096  # of one sequence; 5 a s / h

# Of the second matmul's weight (4 h x h), input (4 h), result (h) and of the residual stream, in 2 bytes.
GRADIENTS = 2 * (4 * 4096 * 4096 + (4 + 1 + 1) * SBH)


def count_saved(job: Job) -> float:
    """Bytes a layer keeps, in units of s b h."""
    return (
        sum(part(job).saved_bytes for part in (derive_attention, derive_scores, layer.derive_dense_ffn)) / SBH
    )


@pytest.mark.parametrize("tensor", [1, 2, 8])
@pytest.mark.parametrize(
    ("sequence", "again", "expected"),
    [
        (False, False, lambda t: 10 + 24 / t + HEADS / t),
        (True, False, lambda t: (34 + HEADS) / t),
        (False, True, lambda t: 10 + 24 / t),
        (True, True, lambda t: 34 / t),
    ],
)
def test_a_gpt_layer_keeps_what_its_authors_counted(
    tensor: int, sequence: bool, again: bool, expected: object
) -> None:
    """Korthikanti et al., arXiv:2205.05198, table 2: scores not fused, dropout masks of a byte."""
    job = build_job(
        GPT,
        tensor=(tensor, 1),
        sequence_parallel=sequence,
        flash_attention=False,
        dropout=True,
        regather_inputs=True,
        element_bytes=2,
    )
    found = count_saved(job) - (derive_scores(job).saved_bytes / SBH if again else 0)
    assert callable(expected)
    assert found == pytest.approx(expected(tensor))


def test_fused_attention_keeps_a_number_a_row_instead_of_the_scores() -> None:
    assert derive_scores(build_job(GPT)).saved_bytes == 4 * 2048 * 32
    assert derive_scores(build_job(GPT, flash_attention=False)).saved_bytes == 2 * 32 * 2048 * 2048


@pytest.mark.parametrize("tensor", [1, 4])
def test_a_gated_layer_keeps_three_widths_of_its_ffn(tensor: int) -> None:
    """2 s b (4 h + (2 a d + 2 g d + 3 f) / t) and 4 s b a / t for fused attention."""
    job = build_job(DENSE, tensor=(tensor, 1))
    split = 2 * 16 * 128 + 2 * 4 * 128 + 3 * 8192
    found = (
        derive_attention(job).saved_bytes
        + derive_scores(job).saved_bytes
        + layer.derive_dense_ffn(job).saved_bytes
    )
    assert found == 2 * 2048 * (4 * 2048 + split / tensor) + 4 * 2048 * 16 / tensor
    assert layer.derive_dense_ffn(job).memory_traffic == 2 * 2048 * (5 * 2048 + 3 * 8192 / tensor)


@pytest.mark.parametrize(
    ("shard", "bytes"),
    [("none", lambda d: 16), ("optimizer", lambda d: 4 + 12 / d)],
)
def test_states_are_those_of_the_zero_paper(shard: str, bytes: object) -> None:
    """Rajbhandari et al., arXiv:1910.02054, gradients in 16 bits, without its second stage."""
    job = build_job(DENSE, data=(8, 1), shard=shard, gradient_bytes=2)
    found = predict_memory(job, 0)
    count = parameters.count_rank_parameters(job, job.stages[0]).total
    assert callable(bytes)
    states = found.parameters + found.gradients + found.optimizer
    assert states == pytest.approx(count * bytes(8))


@pytest.mark.parametrize(
    ("element", "gradient", "master", "moments", "bytes"),
    [
        (2, 4, 4, 8, 4 + 4 + 8),  # not 2 more: the shard in float32 is the master
        (4, 4, 4, 8, 4 + 4 + 8),
        (2, 2, 2, 4, 2 + 2 + 4),
        (2, 2, 4, 8, 4 + 2 + 8),
    ],
)
def test_a_sharded_parameter_is_kept_once(
    element: int, gradient: int, master: int, moments: int, bytes: int
) -> None:
    """As `fully_shard` of torch: it casts what it gathers, and frees it after the layer."""
    job = build_job(
        DENSE,
        data=(8, 1),
        shard="parameters",
        element_bytes=element,
        gradient_bytes=gradient,
        master_bytes=master,
        moment_bytes=moments,
    )
    found = predict_memory(job, 0)
    count = parameters.count_rank_parameters(job, job.stages[0]).total
    assert found.parameters + found.gradients + found.optimizer == pytest.approx(count * bytes / 8)


def test_experts_are_shared_out_over_their_own_copies_alone() -> None:
    """8 data ranks, 4 of them with other experts: their states are cut in 2, all others' in 8."""
    job = build_job(data=(8, 1), experts=(4, 1), expert_data=(2, 1), shard="optimizer")
    held = parameters.count_rank_parameters(job, job.stages[0])
    assert predict_memory(job, 0).optimizer == pytest.approx(12 * (held.non_experts / 8 + held.experts / 2))


def test_the_first_stage_holds_most_microbatches() -> None:
    job = build_job(pipeline=(4, 1), layers=(4, 4, 4, 4), microbatches=16)
    activations = [predict_memory(job, rank).activations for rank in range(4)]
    assert activations == pytest.approx([activations[3] * count for count in (4, 3, 2, 1)])


@given(tensor=st.sampled_from([1, 2, 4]), sequence=st.booleans(), experts=st.sampled_from([1, 4]))
def test_computing_more_again_never_keeps_more(tensor: int, sequence: bool, experts: int) -> None:
    def activations(recompute: str) -> float:
        groups = {"tensor": (tensor, 1), "experts": (experts, 1)}
        job = build_job(sequence_parallel=sequence, recompute=recompute, **groups)
        return predict_memory(job, 0).activations

    assert activations("layer") <= activations("attention") <= activations("scores") <= activations("none")
    assert activations("layer") <= activations("experts") <= activations("none")


def test_a_layer_computed_again_keeps_its_input() -> None:
    """2 s b h bytes. Its backward pass has what is saved otherwise, and gradients."""
    job = build_job(GPT, recompute="layer")
    assert predict_memory(job, 0).activations == 4 * 2 * SBH
    assert predict_memory(job, 0).working == pytest.approx(count_saved(job) * SBH + GRADIENTS)


def test_a_backward_pass_has_gradients() -> None:
    """A pipeline's first stage has no logits, but its backward pass needs more than what is saved.

    Measured by SimuMax (docs/accuracy.md): 3.2% less than the peak of such a stage without it, 1.1% with it.
    """
    assert predict_memory(build_job(GPT), 0).working == pytest.approx(GRADIENTS)


def test_spreading_experts_does_not_shrink_their_activations() -> None:
    """Each rank still gets the rows of as many tokens as it sends."""
    assert (
        predict_memory(build_job(), 0).activations
        == predict_memory(build_job(experts=(8, 1), data=(8, 1)), 0).activations
    )


@given(load=st.floats(1, 8))
def test_a_fuller_rank_keeps_more(load: float) -> None:
    assert (
        predict_memory(build_job(expert_imbalance=load, experts=(8, 1)), 0).activations
        >= predict_memory(build_job(experts=(8, 1)), 0).activations
    )


def test_gigabytes_do_not_depend_on_the_machine() -> None:
    assert predict_memory(build_job(hardware=None), 0) == predict_memory(build_job(), 0)


def test_longer_stages_hold_more_at_the_moment_that_is_fullest() -> None:
    """Two chunks of unlike size: no one moment has the most of both, the worse one counts."""
    job = build_job(
        replace(MODEL, layers=16), pipeline=(2, 1), layers=(7, 1, 1, 7), chunks=2, schedule="interleaved"
    )
    one = predict_memory(replace(job, parallelism=replace(job.parallelism, microbatches=2)), 0)
    each = predict_memory(build_job(), 0).activations / 16
    assert one.activations == pytest.approx(each * (2 * 7 + 2 * 1))


@pytest.mark.parametrize(
    ("schedule", "chunks", "count"), [("1f1b", 1, 1), ("gpipe", 1, 8), ("gpipe", 2, 8), ("zbv", 2, 1)]
)
def test_logits_are_there_for_every_microbatch_at_the_head(schedule: str, chunks: int, count: int) -> None:
    """gpipe has all 8 there before the first goes back; the others take each back at once. In float32, and of
    one of them the gradient in 2 bytes; beside them what the norm and the matmul keep."""
    layers = (16 // (2 * chunks),) * 2 * chunks
    job = build_job(DENSE, pipeline=(2, 1), schedule=schedule, chunks=chunks, layers=layers, microbatches=8)
    rank = 0 if schedule == "zbv" else 1
    tokens, words = 2048, 32000
    assert (
        predict_memory(job, rank).logits
        == count * (4 * tokens * words + 2 * 2 * tokens * 2048) + 2 * tokens * words
    )
    assert predict_memory(job, 1 - rank).logits == 0
    (figure,) = (part for part in explain_memory(job, rank).parts if part.name == "logits")
    assert ("of 8 microbatches" in figure.how) is (count == 8)
