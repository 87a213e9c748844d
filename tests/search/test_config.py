"""A model's shape from its `config.json`. Held against what the models' authors say of their sizes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from parc.search.config.keys import Unreadable
from parc.search.config.read import Config, read_config
from tests.search.test_models import count

MIXTRAL = {
    "model_type": "mixtral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "num_attention_heads": 32,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "router_aux_loss_coef": 0.02,
    "tie_word_embeddings": False,
    "vocab_size": 32000,
}
QWEN3 = {  # Qwen3-30B-A3B
    "model_type": "qwen3_moe",
    "decoder_sparse_step": 1,
    "head_dim": 128,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "mlp_only_layers": [],
    "moe_intermediate_size": 768,
    "num_attention_heads": 32,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 48,
    "num_key_value_heads": 4,
    "vocab_size": 151936,
}
OLMOE = {
    "model_type": "olmoe",
    "hidden_size": 2048,
    "intermediate_size": 1024,
    "num_attention_heads": 16,
    "num_experts": 64,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 16,
    "num_key_value_heads": 16,
    "vocab_size": 50304,
}
DEEPSEEK_MOE = {  # DeepSeekMoE 16B
    "model_type": "deepseek",
    "first_k_dense_replace": 1,
    "hidden_size": 2048,
    "intermediate_size": 10944,
    "moe_intermediate_size": 1408,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_attention_heads": 16,
    "num_experts_per_tok": 6,
    "num_hidden_layers": 28,
    "num_key_value_heads": 16,
    "vocab_size": 102400,
}
LLAMA = {  # Llama 3 8B
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}
GPT2 = {
    "model_type": "gpt2",
    "n_layer": 12,
    "n_embd": 768,
    "n_head": 12,
    "n_inner": 3072,
    "vocab_size": 50257,
}


def read(given: Any) -> Config:
    return read_config(json.dumps(given))


@pytest.mark.parametrize(
    ("given", "billions"),  # as their model cards have it, to as many digits
    [(MIXTRAL, 46.7), (QWEN3, 30.5), (OLMOE, 6.9), (DEEPSEEK_MOE, 16.4), (LLAMA, 8.0)],
)
def test_a_shape_has_the_parameters_that_its_authors_count(given: Any, billions: float) -> None:
    assert round(count(read(given)) / 1e9, 1) == billions


def test_what_a_shape_says() -> None:
    found = read(DEEPSEEK_MOE)

    assert found.shape == {
        "layers": 28,
        "hidden": 2048,
        "heads": 16,
        "kv_heads": 16,
        "ffn": 1408,
        "dense_ffn": 10944,
        "shared_ffn": 2816,  # 2 x 1408
        "dense_layers": 1,
        "experts": 64,
        "top_k": 6,
        "vocab": 102400,
        "gated": True,
    }


def test_the_balance_loss_and_the_length() -> None:
    assert (read(MIXTRAL).balance, read(MIXTRAL).length) == (0.02, 4096)
    assert read(MIXTRAL | {"max_position_embeddings": 2048}).length == 2048


def test_an_old_dense_model_is_not_gated() -> None:
    assert read(GPT2).shape == {
        "layers": 12,
        "hidden": 768,
        "heads": 12,
        "ffn": 3072,
        "vocab": 50257,
        "gated": False,
        "tied": True,
    }


def test_a_model_of_text_and_more_is_its_text() -> None:
    assert read({"model_type": "some_vlm", "text_config": MIXTRAL}).shape == read(MIXTRAL).shape


@pytest.mark.parametrize(
    ("more", "keys", "notes"),
    [
        (
            {"decoder_sparse_step": 2},
            {"expert_layers": 24, "dense_ffn": 6144},
            ("the 24 layers without experts lie among the others; they are taken to lie evenly",),
        ),
        ({"mlp_only_layers": [0]}, {"dense_layers": 1, "dense_ffn": 6144}, ()),
        ({"tie_word_embeddings": True}, {"tied": True}, ()),
        (
            {"num_experts_per_tok": None},
            {"top_k": 1},
            ("how many experts a token goes to is not said; 1 is assumed",),
        ),
        (
            {"kv_lora_rank": 512, "qk_nope_head_dim": 96, "qk_rope_head_dim": 32, "v_head_dim": 64},
            {"latent": (0, 512, 96, 32, 64)},
            (),
        ),
    ],
)
def test_what_few_models_have(more: Any, keys: dict[str, object], notes: tuple[str, ...]) -> None:
    usual = read(QWEN3)
    assert usual.notes == ()
    assert not keys.keys() & usual.shape.keys() - {"top_k"}
    found = read(QWEN3 | more)
    assert keys.items() <= found.shape.items()
    assert found.notes == notes


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "not an object"),
        ("{}", "it lacks layers (num_hidden_layers or n_layer or num_layers or n_layers), hidden"),
        (
            json.dumps(MIXTRAL | {"num_hidden_layers": "32"}),
            "`num_hidden_layers` is a whole number, not '32'",
        ),
        (
            json.dumps(MIXTRAL | {"num_hidden_layers": True}),
            "`num_hidden_layers` is a whole number, not True",
        ),
        (json.dumps(MIXTRAL | {"num_hidden_layers": -1}), "`num_hidden_layers` is a whole number, not -1"),
        (
            json.dumps(MIXTRAL | {"num_hidden_layers": 10**30}),
            "`num_hidden_layers` is a whole number, not 1000",
        ),
    ],
)
def test_what_is_no_configuration(text: str, reason: str) -> None:
    with pytest.raises(Unreadable) as refused:
        read_config(text)
    assert reason in str(refused.value)
