"""A model's shape from its `config.json`. Held against what the models' authors say of their sizes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from parc.cost.job.architecture import Architecture
from parc.cost.memory import parameters
from parc.search.config import Config, Unreadable, read_config

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


def count(found: Config) -> int:
    shape = found.shape
    heads, hidden = shape["heads"], shape["hidden"]
    return parameters.count_model(
        Architecture(
            layers=shape["layers"],
            hidden=hidden,
            heads=heads,
            kv_heads=shape.get("kv_heads", heads),
            head_dim=shape.get("head_dim", hidden // heads),
            ffn=shape["ffn"],
            dense_ffn=shape.get("dense_ffn", shape["ffn"]),
            vocab=shape["vocab"],
            length=1,
            gated=bool(shape["gated"]),
            experts=shape.get("experts", 0),
            top_k=shape.get("top_k", 0),
            shared_ffn=shape.get("shared_ffn", 0),
            dense_layers=shape.get("dense_layers", 0),
        )
    )


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
    }


def test_a_model_of_text_and_more_is_its_text() -> None:
    assert read({"model_type": "some_vlm", "text_config": MIXTRAL}).shape == read(MIXTRAL).shape


@pytest.mark.parametrize(
    ("more", "note"),
    [
        ({"kv_lora_rank": 512}, "latent attention"),
        ({"decoder_sparse_step": 2}, "layers without experts"),
        ({"mlp_only_layers": [0]}, "layers without experts"),
        ({"tie_word_embeddings": True}, "counted twice"),
    ],
)
def test_what_a_shape_cannot_say_is_reported(more: Any, note: str) -> None:
    assert read(QWEN3).notes == ()
    assert [note in each for each in read(QWEN3 | more).notes] == [True]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "not an object"),
        ("{}", "it lacks layers (num_hidden_layers or n_layer or num_layers), hidden"),
        (json.dumps(MIXTRAL | {"num_hidden_layers": "32"}), "`layers` is a whole number, not '32'"),
        (json.dumps(MIXTRAL | {"num_hidden_layers": True}), "`layers` is a whole number, not True"),
        (json.dumps(MIXTRAL | {"num_hidden_layers": -1}), "`layers` is a whole number, not -1"),
        (json.dumps(MIXTRAL | {"num_hidden_layers": 10**30}), "`layers` is a whole number, not 1000"),
    ],
)
def test_what_is_no_configuration(text: str, reason: str) -> None:
    with pytest.raises(Unreadable) as refused:
        read_config(text)
    assert reason in str(refused.value)
