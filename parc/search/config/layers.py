"""Which layers of a model have attention, and which have experts."""

from __future__ import annotations

from parc.named_tuple import NamedTuple
from parc.search.config.keys import Keys

LINEAR = ("linear_attention", "mamba", "mamba2", "recurrent", "conv", "linear")
ATTENTION = "attention"
BLOCKS = {"M": "linear", "*": ATTENTION, "-": "mlp", "E": "moe"}
"""Of `hybrid_override_pattern`: layers of Nemotron-H do one thing each."""


class Layer(NamedTuple):
    """`mixer` is "attention", "sliding", "linear" or "", `ffn` "experts", "dense" or ""."""

    mixer: str
    ffn: str


def list_layers(keys: Keys, layers: int, has_experts: bool) -> list[Layer]:
    """The layers, in the order of the model, which has experts or not."""
    if blocks := _list_blocks(keys):
        mixers = {"linear": "linear", "linear_attention": "linear", "mamba": "linear"}
        mixers |= {ATTENTION: ATTENTION, "full_attention": ATTENTION}
        ffns = {"moe": "experts" if has_experts else "dense", "mlp": "dense"}
        return [Layer(mixers.get(block, ""), ffns.get(block, "")) for block in blocks]
    sparse = _list_sparse(keys, layers) if has_experts else [False] * layers
    return [
        Layer(mixer, "experts" if each else "dense")
        for mixer, each in zip(_list_mixers(keys, layers), sparse, strict=True)
    ]


def _list_blocks(keys: Keys) -> list[str]:
    pattern = keys.find("hybrid_override_pattern")
    if isinstance(pattern, str):
        return [BLOCKS[letter] for letter in pattern if letter in BLOCKS]
    if "nemotron" not in keys.kind:
        return []
    return [str(block) for block in keys.list("layers_block_type")]


def _list_mixers(keys: Keys, layers: int) -> list[str]:
    types = keys.list("layer_types", "layers_block_type")
    if len(types) == layers:
        return [
            "linear" if name in LINEAR else "sliding" if "sliding" in str(name) else ATTENTION
            for name in types
        ]
    if len(pattern := keys.list("hybrid_layer_pattern")) == layers:  # MiMo: 1 is a sliding window
        return ["sliding" if each == 1 else ATTENTION for each in pattern]
    if len(pattern := keys.list("attn_type_list")) == layers:  # MiniMax: 1 is full attention
        return [ATTENTION if each == 1 else "linear" for each in pattern]
    full = range(layers)
    if period := keys.count("attn_layer_period"):  # Jamba
        full = range(keys.count("attn_layer_offset"), layers, period)
    elif period := keys.count("full_attention_interval"):  # Qwen3-Next
        full = range(period - 1, layers, period)
    elif period := keys.count("layer_group_size"):  # Ling: a remainder at the end is full attention
        last = layers // period * period
        return [
            ATTENTION if (index + 1) % period == 0 or index >= last else "linear" for index in range(layers)
        ]
    elif indices := keys.enter("linear_attn_config").list("full_attn_layers"):  # Kimi: from 1 on
        return [ATTENTION if index + 1 in indices else "linear" for index in range(layers)]
    elif indices := keys.list("full_attn_idxs"):  # LFM2
        return [ATTENTION if index in indices else "linear" for index in range(layers)]
    return [ATTENTION if index in full else "linear" for index in range(layers)]


def _list_sparse(keys: Keys, layers: int) -> list[bool]:
    """Whether each layer has experts."""
    types = keys.list("mlp_layer_types")
    if len(types) == layers:
        return [name != "dense" for name in types]
    every = range(layers)
    if indices := keys.list("moe_layers"):
        return [index in indices for index in every]
    if isinstance(enumerated := keys.find("moe_layers_enum"), str):  # Step
        return [str(index) in enumerated.split(",") for index in every]
    if len(pattern := keys.list("moe_layer_freq")) == layers:  # MiMo: 1 has experts
        return [each == 1 for each in pattern]
    step, offset = 1, 0
    if period := keys.count("expert_layer_period"):  # Jamba
        step, offset = period, keys.count("expert_layer_offset")
    elif period := keys.count("interleave_moe_layer_step", "decoder_sparse_step"):  # Llama 4, Qwen
        step, offset = period, period - 1
    elif keys.find_count("moe_layer_start_index") is not None:  # Ernie
        step = keys.count("moe_layer_interval") or 1
        start, end = keys.count("moe_layer_start_index"), keys.count("moe_layer_end_index", default=layers)
        return [start <= index <= end and (index + 1) % step == 0 for index in every]
    elif not isinstance(keys.find("moe_layer_freq"), list) and (period := keys.count("moe_layer_freq")):
        step = period
    first = keys.count("first_k_dense_replace", "num_dense_layers", "n_dense_layers")
    dense = keys.list("mlp_only_layers")
    return [index >= first and index % step == offset and index not in dense for index in every]
