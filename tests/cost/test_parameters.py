"""Parameters and FLOPs: the audit of the seed's plan, published models, and shares that add up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parc.check.load import load
from parc.cost.job.architecture import Architecture
from parc.cost.job.from_plan import derive_job
from parc.cost.job.job import Job
from parc.cost.memory import parameters
from parc.cost.validate.models import DEEPSEEK_V2, build_gpt
from tests.cost.jobs import MODEL, build_job

SEED = Path(__file__).parents[2] / "examples" / "seed.parc"


def load_seed(**overrides: object) -> Job:
    """The seed's plan; 128 sequences a step are what its paper claims."""
    settings = [f"seed.batch.{name}={value}" for name, value in overrides.items()]
    found = derive_job(load(SEED, settings).plans[0])
    assert found is not None
    return found


def remove_gates(job: Job) -> Job:
    return replace(job, architecture=replace(job.architecture, gated=False))


def test_the_seed_does_not_have_thirty_billion_parameters() -> None:
    """4.43 billion plain, 6.58 gated."""
    assert parameters.count_model(load_seed().architecture) / 1e9 == pytest.approx(6.58, abs=0.005)
    assert parameters.count_model(remove_gates(load_seed()).architecture) / 1e9 == pytest.approx(
        4.43, abs=0.005
    )


def test_a_device_of_the_seed_holds_fifty_million_expert_parameters() -> None:
    """4 layers x 8 experts, each split by 4: 50.3 million gated, 33.6 plain; not 1.18 billion."""
    for job, millions in ((load_seed(), 50.3), (remove_gates(load_seed()), 33.6)):
        assert parameters.count_rank_parameters(job, job.stages[0]).experts / 1e6 == pytest.approx(
            millions, abs=0.05
        )


def test_a_device_of_the_seed_computes_two_teraflop() -> None:
    """For 131,072 tokens: 2.06 TFLOP gated, 1.65 plain; not 153.9."""
    half = load_seed(sequences=128, microbatches=16)
    assert parameters.count_tokens(half) == 131_072
    for job, tera in ((half, 2.06), (remove_gates(half), 1.65)):
        assert parameters.count_flops(job) / 128 / 1e12 == pytest.approx(tera, abs=0.005)


@pytest.mark.parametrize(
    ("model", "billions"),
    [
        (build_gpt(96, 12288, 96, 2048), 174.6),  # arXiv:2104.04473, table 1
        (build_gpt(48, 8192, 64, 2048), 39.1),
        (build_gpt(128, 25600, 160, 2048), 1008.0),
        (DEEPSEEK_V2(layers=60, length=4096), 235.7),  # arXiv:2405.04434: 236B
    ],
)
def test_known_models_have_their_parameters(model: Architecture, billions: float) -> None:
    """Within half a percent: biases and position embeddings are not counted."""
    assert parameters.count_model(model) / 1e9 == pytest.approx(billions, rel=0.005)


def test_a_token_of_qwen3_30b_takes_23_gigaflop() -> None:
    """NeMo Automodel's table: 277 TFLOP/s at 12,040 tokens/s is 23.01; it leaves out what attention skips."""
    model = Architecture(
        layers=48,
        hidden=2048,
        heads=32,
        kv_heads=4,
        head_dim=128,
        ffn=768,
        dense_ffn=0,
        vocab=151936,
        length=4096,
        experts=128,
        top_k=8,
    )
    causal = 2 * model.layers * model.length * model.heads * model.head_dim
    assert 3 * (2 * parameters.count_active(model) + causal) / 1e9 == pytest.approx(23.08, abs=0.01)


@given(
    tensor=st.sampled_from([1, 2, 4]),
    experts=st.sampled_from([1, 2, 8]),
    stages=st.sampled_from([1, 2, 4]),
    first=st.integers(0, 3),
)
def test_the_shares_of_all_ranks_are_the_model(tensor: int, experts: int, stages: int, first: int) -> None:
    """Norms and routers are whole on each rank of `tensor`: they are counted once."""
    job = build_job(
        replace(MODEL, dense_layers=first),
        tensor=(tensor, 1),
        experts=(experts, 1),
        pipeline=(stages, 1),
        layers=(16 // stages,) * stages,
    )
    total = 0.0
    for stage in job.stages:
        held = parameters.count_rank_parameters(job, stage)
        layers = stage.dense_layers + stage.moe_layers
        whole = (2 * layers + stage.has_head) * MODEL.hidden + stage.moe_layers * MODEL.experts * MODEL.hidden
        total += (held.non_experts - whole) * tensor + whole + held.experts * experts
    assert total == pytest.approx(parameters.count_model(job.architecture))


def test_a_tied_embedding_is_held_twice_by_a_pipeline() -> None:
    tied = replace(MODEL, tied=True)
    alone, cut = build_job(tied), build_job(tied, pipeline=(2, 1), layers=(8, 8))
    table = MODEL.vocab * MODEL.hidden
    assert parameters.count_rank_parameters(alone, alone.stages[0]).total == parameters.count_model(tied)
    assert (
        sum(parameters.count_rank_parameters(cut, stage).total for stage in cut.stages)
        == parameters.count_model(tied) + table
    )
