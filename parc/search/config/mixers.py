"""How many parameters one layer has before its FFN: attention, latent or not, or what it has instead."""

from __future__ import annotations

from parc.search.config.keys import Keys

GATED_QUERIES = ("qwen3_next", "qwen3_5_moe", "qwen3_5_moe_text", "qwen3_5_text")  # as many gates as queries
GATED_RESULTS = (  # a gate for each number that attention returns
    *("afmoe", "beam", "hy_v4", "hy_v4_vl_text", "inkling2_text", "inkling2_loop_text"),
    "muse_spark_text",
)
GATED_HEADS = ("laguna", "dots3_note", "dots3_note_text", "bailing_hybrid")  # a gate for each head
BIASED = ("qwen2", "qwen2_moe", "gpt_oss")  # queries, keys and values have a bias
LOW_RANK_GATES = ("kimi_linear", "glm5_next_text")  # of Kimi's delta attention


def find_head_dim(keys: Keys) -> int:
    """The size of a head of plain attention."""
    heads = keys.count("num_attention_heads", "n_head", "num_heads", "n_heads", default=1)
    hidden = keys.count("hidden_size", "n_embd", "d_model")
    return keys.count("head_dim", "kv_channels", "attention_head_dim") or hidden // max(1, heads)


def find_latent(keys: Keys) -> tuple[int, ...]:
    """The sizes of latent attention as a shape has them; none, where attention is plain."""
    if not keys.count("kv_lora_rank"):
        return ()
    names = ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
    return keys.count("q_lora_rank"), *(keys.count(name) for name in names)


def count_attention(keys: Keys, mixer: str, index: int) -> int:
    """Parameters of the attention of one layer; `mixer` is "sliding" where it looks back over a window."""
    hidden = keys.count("hidden_size", "n_embd", "d_model")
    heads = keys.count("num_attention_heads", "n_head", "num_heads", "n_heads")
    if keys.kind == "jetmoe":
        return _count_attention_experts(keys, hidden)
    if keys.kind == "deepseek_v4":
        return _count_compressed(keys, hidden, heads, index)
    sliding = mixer == "sliding"
    if latent := find_latent(keys):
        query, pair, nope, rope, value = latent
        up = heads * (nope + rope)
        queries = hidden * query + query + query * up if query else hidden * up
        pairs = hidden * (pair + rope) + pair + pair * heads * (nope + value)
        return queries + pairs + heads * value * hidden + _count_gates(keys, hidden, heads, value)
    if keys.kind.startswith("gemma4"):
        return _count_gemma(keys, hidden, heads, sliding, index)
    own = sliding and keys.find_count("swa_num_attention_heads") is not None
    heads = keys.count("swa_num_attention_heads") if own else heads
    dim = keys.count("swa_head_dim") if own else 0
    dim = dim or find_head_dim(keys)
    pairs = keys.count(
        "num_key_value_heads", "kv_n_heads", "num_kv_heads", "num_attention_groups", default=heads
    )
    if sliding:
        twice = 2 * pairs if keys.kind == "mimo_v2_flash" else pairs
        pairs = keys.count("swa_num_key_value_heads", default=twice)
    value = (keys.count("swa_v_head_dim") if own else 0) or keys.count("v_head_dim") or dim
    found = hidden * (heads * dim + pairs * (dim + value)) + heads * value * hidden
    if keys.kind in BIASED and keys.flag("qkv_bias", keys.flag("attention_bias", True)):
        found += heads * dim + pairs * (dim + value)
    if keys.kind in GATED_QUERIES:
        found += hidden * heads * dim
    if keys.kind == "zaya":  # convolutions over queries and keys, within a head and along the sequence
        times = dim * keys.count("cca_time1") + keys.count("cca_time0") + 2
        found += (heads + pairs) * dim * times
    if "inkling" in keys.kind:  # positions relative to the query
        found += hidden * heads * keys.count("d_rel") + keys.count("d_rel") * keys.count("rel_extent")
    return found + _count_gates(keys, hidden, heads, value)


def _count_gates(keys: Keys, hidden: int, heads: int, value: int) -> int:
    if keys.kind in GATED_RESULTS:
        return hidden * heads * value
    return hidden * heads if keys.kind in GATED_HEADS else 0


def _count_gemma(keys: Keys, hidden: int, heads: int, sliding: bool, index: int) -> int:
    """Gemma 4: full attention has heads of its own size, and values may be the keys."""
    dim, pairs = find_head_dim(keys), keys.count("num_key_value_heads", default=heads)
    if not sliding:
        dim = keys.count("global_head_dim", default=dim)
        pairs = keys.count("num_global_key_value_heads", default=pairs)
    values = not (keys.flag("attention_k_eq_v") and not sliding)
    shared = index >= keys.count("num_hidden_layers") - keys.count("num_kv_shared_layers")
    return 2 * hidden * heads * dim + (0 if shared else (1 + values) * hidden * pairs * dim)


def _count_compressed(keys: Keys, hidden: int, heads: int, index: int) -> int:
    """DeepSeek-V4: keys are values, both compressed along the sequence, and results go through groups."""
    dim, rank = keys.count("head_dim"), keys.count("q_lora_rank")
    found = hidden * rank + rank * heads * dim + hidden * dim
    found += keys.count("o_lora_rank") * (heads * dim + keys.count("o_groups") * hidden)
    types = keys.list("layer_types")
    kind = str(types[index]) if index < len(types) else ""
    if kind == "heavily_compressed_attention":
        return found + 2 * hidden * dim
    if kind == "compressed_sparse_attention":
        inner, own = keys.count("index_head_dim"), keys.count("index_n_heads")
        return found + 4 * hidden * (dim + inner) + rank * own * inner + hidden * own
    return found


def _count_attention_experts(keys: Keys, hidden: int) -> int:
    """JetMoE: experts for queries and results, of as many numbers as there are keys; a bias, a router."""
    width = keys.count("num_key_value_heads") * keys.count("kv_channels")
    experts = keys.count("num_local_experts")
    return experts * (2 * hidden * width + hidden) + 2 * hidden * width + hidden


def count_indexer(keys: Keys) -> int:
    """Parameters of what selects the positions that latent attention attends to; 0 where nothing does."""
    heads, dim = keys.count("index_n_heads"), keys.count("index_head_dim")
    if not (heads and keys.count("kv_lora_rank")):
        return 0
    hidden = keys.count("hidden_size")
    return (keys.count("q_lora_rank") or hidden) * heads * dim + hidden * (dim + heads) + 2 * dim


def count_linear(keys: Keys) -> int | None:
    """Parameters of what a layer has instead of attention; None: not known."""
    hidden = keys.count("hidden_size", "d_model")
    if keys.count("linear_num_value_heads"):
        return _count_delta_net(keys, hidden)
    if keys.kind in (*LOW_RANK_GATES, "bailing_hybrid"):
        return _count_delta_attention(keys, hidden)
    if keys.count("mamba_dt_rank") or keys.find("mamba_dt_rank") == "auto":
        return _count_mamba(keys, hidden)
    if heads := keys.count("mamba_n_heads", "mamba_num_heads"):
        return _count_mamba2(keys, hidden, heads)
    if "minimax" in keys.kind:
        width = keys.count("num_attention_heads") * find_head_dim(keys)
        return 5 * hidden * width + width
    if "lfm2" in keys.kind:
        return 4 * hidden * hidden + hidden * keys.count("conv_L_cache", default=3)
    return None


def _count_delta_net(keys: Keys, hidden: int) -> int:
    """Gated delta net: arXiv:2412.06464."""
    heads, dim = keys.count("linear_num_value_heads"), keys.count("linear_value_head_dim")
    key, value = keys.count("linear_num_key_heads") * keys.count("linear_key_head_dim"), heads * dim
    mixed = 2 * key + value
    projections = hidden * (mixed + value + 2 * heads) + value * hidden
    return projections + mixed * keys.count("linear_conv_kernel_dim", default=4) + 2 * heads + dim


def _count_delta_attention(keys: Keys, hidden: int) -> int:
    """Kimi Delta Attention: arXiv:2510.26692."""
    inner = keys.enter("linear_attn_config")
    heads = inner.count("linear_num_heads", "num_heads") or keys.count("num_attention_heads")
    dim = keys.count("linear_head_dim") or inner.count("head_dim")
    width = heads * dim
    gate = hidden * dim + dim * width if keys.kind in LOW_RANK_GATES else hidden * width
    kernel = inner.count("linear_conv_kernel_dim", "short_conv_kernel_size", default=4)
    return 4 * hidden * width + 2 * gate + hidden * heads + 3 * width * kernel + width + heads + dim


def _count_mamba(keys: Keys, hidden: int) -> int:
    """Mamba with norms of its own, as Jamba has it."""
    inner, state = keys.count("mamba_expand", default=2) * hidden, keys.count("mamba_d_state", default=16)
    rank = -(-hidden // 16) if keys.find("mamba_dt_rank") == "auto" else keys.count("mamba_dt_rank")
    found = 3 * hidden * inner + inner * (rank + 2 * state) + rank * inner + inner
    return found + inner * (state + 1 + keys.count("mamba_d_conv", default=4) + 1) + rank + 2 * state


def _count_mamba2(keys: Keys, hidden: int, heads: int) -> int:
    dim = (
        keys.count("mamba_d_head", "mamba_head_dim") or keys.count("mamba_expand", "expand") * hidden // heads
    )
    inner, state = heads * dim, keys.count("mamba_d_state", "ssm_state_size", default=128)
    mixed = inner + 2 * keys.count("mamba_n_groups", "n_groups", default=1) * state
    kernel = keys.count("mamba_d_conv", "conv_kernel", default=4)
    return hidden * (inner + mixed + heads) + mixed * (kernel + 1) + 3 * heads + inner + inner * hidden
