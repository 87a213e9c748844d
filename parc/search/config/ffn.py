"""The FFNs of a model: those of dense layers, of experts, and of shared experts."""

from __future__ import annotations

from parc.named_tuple import NamedTuple
from parc.search.config.keys import Keys

UNGATED = (
    *("gpt2", "gpt_neox", "opt", "bloom", "phi", "gptj", "mpt", "codegen", "falcon", "persimmon"),
    *("starcoder2", "arcee", "apertus", "nemotron", "nemotron_h"),
)
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
TOP_K = (
    *("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "moe_top_k"),
    *("top_k_experts", "num_experts_per_topk"),
)
WIDTH = (
    *("moe_intermediate_size", "expert_ffn_hidden_size", "expert_ffn_dim", "intermediate_size"),
    *("ffn_hidden_size", "n_inner", "ffn_dim"),
)
DENSE_WIDTH = (
    *("intermediate_size_mlp", "dense_intermediate_size", "intermediate_size"),
    *("ffn_hidden_size", "n_inner", "ffn_dim"),
)
SHARED_WIDTH = (
    *("shared_expert_intermediate_size", "moe_shared_expert_intermediate_size"),
    *("shared_intermediate_size", "shared_experts_intermediate_size", "share_expert_dim"),
)
SHARED = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert")


class FfnSizes(NamedTuple):
    """Widths, and the number of experts; 0: there are none."""

    experts: int
    top_k: int
    width: int  # of an expert
    dense: int  # of a layer without experts
    shared: int  # of all shared experts together
    gated: bool

    def count_weights(self, hidden: int, width: int) -> int:
        """Parameters of one FFN of this width."""
        return (3 if self.gated else 2) * hidden * width


def read_ffn(keys: Keys) -> FfnSizes:
    """Raises Unreadable where a size is no whole number."""
    keys = keys.enter("ffn_config")  # DBRX
    gated = keys.kind not in UNGATED
    dense, experts = keys.count(*DENSE_WIDTH), keys.count(*EXPERTS)
    if "n_inner" in keys.given and not dense:  # GPT-2 and its kin
        dense = 4 * keys.count("n_embd")
    # The experts of Doge are single vectors.
    if keys.kind == "granitemoehybrid" and not experts:
        dense = keys.count("shared_intermediate_size")
    if experts <= 1 or not keys.flag("enable_moe_block", True) or keys.kind == "doge":
        return FfnSizes(0, 0, dense, dense, 0, gated)
    width = keys.count(*WIDTH)
    if keys.kind.startswith("llama4"):
        shared = width
    elif keys.kind.startswith("gemma4"):
        shared = dense
    else:
        shared = keys.count(*SHARED_WIDTH) or keys.count(*SHARED) * width
    return FfnSizes(experts, keys.count(*TOP_K), width, dense, shared, gated)


def find_expert_hidden(keys: Keys, hidden: int) -> int:
    """How many numbers of a token experts work on: in some models fewer than the residual stream has."""
    return keys.count("moe_latent_size", "moe_hidden_size") or hidden


def count_experts(keys: Keys, sizes: FfnSizes, hidden: int) -> int:
    """Parameters of a layer's experts, shared ones and the router included."""
    inner = find_expert_hidden(keys, hidden)
    routed = sizes.experts * sizes.count_weights(inner, sizes.width)
    found = routed + sizes.experts * hidden + sizes.count_weights(hidden, sizes.shared)
    if inner != hidden:
        found += 2 * hidden * inner
    if keys.kind.startswith("ernie4_5_vl"):  # as many experts for pictures, of another width
        width = keys.find("moe_intermediate_size")
        other = min(width) if isinstance(width, list) else 0
        found += sizes.experts * (sizes.count_weights(hidden, other) + hidden)
    if keys.kind == "gpt_oss":  # biases
        found += sizes.experts * (2 * sizes.width + hidden + 1)
    return found
