"""Parameters by a `config.json` against the true number of each class of models.

`models.jsonl` has a configuration a line, and the number of parameters of the model that transformers 5.24
builds from it (on the meta device; of a model of text and more that of its text model): the defaults of every
causal class with experts, variations of them, and dense classes. Keys that are not read are left out.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from parc.check.claims.counts import count_parameters
from parc.check.detection import price
from parc.check.load import load_text
from parc.search.config.classes import KNOWN
from parc.search.config.keys import Unreadable
from parc.search.config.read import Config, read_config
from parc.search.first_plan import Setup, list_shape_lines
from parc.source import Source

ROWS: list[dict[str, Any]] = [
    json.loads(line) for line in (Path(__file__).parent / "models.jsonl").read_text().splitlines()
]


def find_kind(config: dict[str, Any]) -> str:
    inner = config.get("text_config")
    return str(inner.get("model_type") or config["model_type"]) if inner else str(config["model_type"])


def name_row(row: dict[str, Any]) -> str:
    return find_kind(row["config"])


def count(found: Config) -> float:
    """As a plan with this shape has it."""
    setup = Setup(found.shape, "h100", 8, 8, 8)
    shape = "\n".join(list_shape_lines(setup.shape))
    text = f"""
    cluster one {{ levels = [node: 1] }}
    model m {{
      source = "m.py:M"
      shape {{
        {shape}
      }}
    }}
    train t {{ model = m, batch {{ sequences = 1, length = 8 }} }}
    plan p for t on one {{ mesh = [dp: 1] }}
    """
    loaded = load_text(Source("plan.parc", text))
    assert not [each for each in loaded.diagnostics if each.code.startswith("P1")]
    figure = count_parameters(price(loaded.plans[0]))
    assert sum(part.value for part in figure.parts) == figure.value
    return figure.value


@pytest.mark.parametrize("row", ROWS, ids=name_row)
def test_a_model_has_the_parameters_that_its_shape_has(row: dict[str, Any]) -> None:
    found = read_config(json.dumps(row["config"]))
    assert count(found) == pytest.approx(row["parameters"], rel=0.001)
    assert not [note for note in found.notes if "is not known" in note or "more parameters" in note]
    parts = [note for note in found.notes if note.startswith("only the text model is counted")]
    assert bool(parts) is (row["config"]["model_type"] != name_row(row))


def test_the_known_classes_are_those_with_a_true_number() -> None:
    assert {name_row(row) for row in ROWS} == KNOWN


def find_row(kind: str, **keys: object) -> dict[str, Any]:
    rows = [row for row in ROWS if row["config"]["model_type"] == kind]
    return next(row for row in rows if keys.items() <= row["config"].items())


def test_every_second_layer_of_maverick_has_experts() -> None:
    """As if all had them it would be 776 billion parameters."""
    row = find_row("llama4_text", interleave_moe_layer_step=2)
    found = read_config(json.dumps(row["config"]))
    assert [found.shape[key] for key in ("experts", "expert_layers", "dense_ffn")] == [128, 24, 16384]
    assert 400e9 < row["parameters"] < 401e9
    assert count(found) == row["parameters"]
    assert "the 24 layers without experts lie among the others; they are taken to lie evenly" in found.notes


def test_of_jamba_s_layers_one_in_eight_has_attention() -> None:
    row = find_row("jamba", num_hidden_layers=32, expert_layer_period=2)
    found = read_config(json.dumps(row["config"]))
    assert (found.shape["attention_layers"], found.shape["expert_layers"]) == (4, 16)
    assert "28 layers have no attention; `other` has what they have instead" in found.notes


@pytest.mark.parametrize(
    ("kind", "without", "instead"),
    [
        ("qwen3_next", ["layer_types"], {"full_attention_interval": 4}),
        ("minimax", ["layer_types"], {"attn_type_list": [1, 0] * 16}),
        (
            "kimi_linear",
            [
                "layer_types",
                "mlp_layer_types",
                "linear_num_heads",
                "linear_head_dim",
                "linear_conv_kernel_dim",
            ],
            {
                "linear_attn_config": {
                    "full_attn_layers": [5, 9, 13, 17, 21, 25],
                    "head_dim": 128,
                    "num_heads": 32,
                    "short_conv_kernel_size": 4,
                },
                "first_k_dense_replace": 1,
                "moe_layer_freq": 1,
            },
        ),
        ("nemotron_h", ["layers_block_type"], {"hybrid_override_pattern": "ME*-"}),
        ("deepseek_v32", ["mlp_layer_types"], {"first_k_dense_replace": 3, "moe_layer_freq": 1}),
        ("ernie4_5_moe", ["moe_layer_end_index"], {}),
        ("qwen3_moe", ["num_local_experts"], {"num_experts": 128}),
    ],
)
def test_the_same_by_the_keys_of_published_models(
    kind: str, without: list[str], instead: dict[str, Any]
) -> None:
    row = find_row(kind)
    config = {key: value for key, value in row["config"].items() if key not in without}
    assert count(read_config(json.dumps(config | instead))) == pytest.approx(row["parameters"], rel=0.001)


def test_what_is_not_known_is_said() -> None:
    config = find_row("mixtral")["config"]
    (note,) = read_config(json.dumps(config | {"model_type": "quixtral"})).notes
    assert (
        note == "the class `quixtral` is not known: what it has that other classes do not have is not counted"
    )
    linear = config | {"layer_types": ["linear_attention"] * config["num_hidden_layers"]}
    assert (
        "what 32 layers have instead of attention is not known and not counted"
        in read_config(json.dumps(linear)).notes
    )


def test_what_is_beside_the_text_model_has_a_size() -> None:
    row = find_row("qwen3_vl_moe")
    (note,) = read_config(json.dumps(row["config"])).notes
    assert note == ("only the text model is counted, not what is beside it: roughly 411 million parameters")


def test_an_encoder_is_refused() -> None:
    with pytest.raises(Unreadable, match="an encoder and a decoder"):
        read_config(json.dumps({"model_type": "switch_transformers", "is_encoder_decoder": True}))


VALUES = (
    None,
    0,
    1,
    -1,
    3,
    10**9,
    2**60,
    1.5,
    "x",
    "",
    True,
    [],
    [1],
    ["a"],
    [None],
    {},
    {"a": 1},
    [[1]],
    "ME*-",
)


@pytest.mark.parametrize("seed", range(4))
def test_a_faulty_configuration_is_refused_or_read(seed: int) -> None:
    draw = Random(seed)
    known = sorted({key for row in ROWS for key in row["config"]} | {"hybrid_override_pattern", "ffn_config"})
    for _ in range(250):
        config = dict(draw.choice(ROWS)["config"])
        for _ in range(draw.randint(1, 3)):
            config[draw.choice(known)] = draw.choice(VALUES)
        try:
            shape = read_config(json.dumps(config)).shape
        except Unreadable:
            continue
        assert all(isinstance(size, (bool, int, tuple)) for size in shape.values())
        assert shape["layers"] <= 10_000  # type: ignore[operator]
