"""A decoder of the kind of DeepSeek-V3 for one device, in plain PyTorch.

Latent attention (DeepSeek-V2, arXiv 2405.04434), and a router that scores experts by a sigmoid, chooses
among the best groups of them, and has a bias that the choice alone sees (DeepSeek-V3, arXiv 2412.19437); a
shared expert; dense first layers. In shapes: B batch, S sequence, H model width, N = B x S tokens, K experts
a token, E experts in G groups.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from moe import Experts, FeedForward, RMSNorm, rotary_tables, rotate
from torch import Tensor, nn


class LatentAttention(nn.Module):
    """Causal attention whose queries, and whose keys and values, come from vectors of a low rank.

    A head's key has a part that depends on its position, which all heads share, and one that does not.
    """

    def __init__(
        self, dim: int, n_heads: int, q_rank: int, kv_rank: int, plain: int, rotary: int, value: int
    ) -> None:
        super().__init__()
        self.n_heads, self.kv_rank, self.plain, self.rotary, self.value = (
            n_heads,
            kv_rank,
            plain,
            rotary,
            value,
        )
        self.q_down = nn.Linear(dim, q_rank, bias=False)
        self.q_norm = RMSNorm(q_rank)
        self.q_up = nn.Linear(q_rank, n_heads * (plain + rotary), bias=False)
        self.kv_down = nn.Linear(dim, kv_rank + rotary, bias=False)
        self.kv_norm = RMSNorm(kv_rank)
        self.kv_up = nn.Linear(kv_rank, n_heads * (plain + value), bias=False)
        self.out = nn.Linear(n_heads * value, dim, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, _ = x.shape
        q = self.q_up(self.q_norm(self.q_down(x))).view(batch, length, -1, self.plain + self.rotary)
        q_plain, q_rotary = q.transpose(1, 2).split([self.plain, self.rotary], dim=-1)
        latent, k_rotary = self.kv_down(x).split([self.kv_rank, self.rotary], dim=-1)
        kv = self.kv_up(self.kv_norm(latent)).view(batch, length, -1, self.plain + self.value)
        k_plain, v = kv.transpose(1, 2).split([self.plain, self.value], dim=-1)
        k_rotary = rotate(k_rotary.unsqueeze(1), cos, sin).expand(-1, self.n_heads, -1, -1)
        q = torch.cat((q_plain, rotate(q_rotary, cos, sin)), dim=-1)
        k = torch.cat((k_plain, k_rotary), dim=-1)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(out.transpose(1, 2).reshape(batch, length, -1))


class Router(nn.Module):
    """The `top_k` best experts of the `top_groups` best of `n_groups` groups, and a balance loss."""

    bias: Tensor

    def __init__(
        self, dim: int, n_experts: int, top_k: int, n_groups: int, top_groups: int, scale: float
    ) -> None:
        super().__init__()
        self.n_experts, self.top_k, self.n_groups, self.top_groups = n_experts, top_k, n_groups, top_groups
        self.scale = scale
        self.proj = nn.Linear(dim, n_experts, bias=False)
        self.register_buffer("bias", torch.zeros(n_experts))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """tokens (N, H) -> indices (N, K), weights (N, K) that sum to `scale`, balance loss (1 when even)."""
        scores = self.proj(tokens).sigmoid()
        groups = (scores + self.bias).unflatten(-1, (self.n_groups, -1))  # (N, G, E / G)
        best = groups.topk(2, dim=-1).values.sum(dim=-1).topk(self.top_groups, dim=-1).indices
        kept = F.one_hot(best, self.n_groups).sum(dim=1) > 0  # (N, G)
        groups = groups.masked_fill(~kept.unsqueeze(-1), float("-inf"))
        indices = groups.flatten(1).topk(self.top_k, dim=-1).indices
        weights = scores.gather(-1, indices)
        weights = self.scale * weights / weights.sum(dim=-1, keepdim=True)
        chosen = F.one_hot(indices, self.n_experts).to(scores.dtype).mean(dim=(0, 1))
        shares = (scores / scores.sum(dim=-1, keepdim=True)).mean(dim=0)
        return indices, weights, self.n_experts * (chosen * shares).sum()


class MoE(nn.Module):
    def __init__(self, router: Router, dim: int, ffn: int, n_experts: int) -> None:
        super().__init__()
        self.router = router
        self.experts = Experts(n_experts, dim, ffn)
        self.shared = FeedForward(dim, ffn)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        tokens = x.flatten(0, 1)
        indices, weights, balance = self.router(tokens)
        return self.experts(tokens, indices, weights).view_as(x) + self.shared(x), balance


class Block(nn.Module):
    """Attention, and a feed-forward layer: a dense one, or one with experts."""

    def __init__(self, dim: int, attention: LatentAttention) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(dim)
        self.attention = attention
        self.ffn_norm = RMSNorm(dim)


class DenseBlock(Block):
    def __init__(self, dim: int, attention: LatentAttention, ffn: int) -> None:
        super().__init__(dim, attention)
        self.ffn = FeedForward(dim, ffn)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        x = x + self.attention(self.attention_norm(x), cos, sin)
        return x + self.ffn(self.ffn_norm(x)), x.new_zeros(())


class MoEBlock(Block):
    def __init__(self, dim: int, attention: LatentAttention, moe: MoE) -> None:
        super().__init__(dim, attention)
        self.moe = moe

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        x = x + self.attention(self.attention_norm(x), cos, sin)
        out, balance = self.moe(self.ffn_norm(x))
        return x + out, balance


class LatentMoETransformer(nn.Module):
    """tokens (B, S) -> logits (B, S, vocab) and the balance loss, a mean over the layers with experts."""

    cos: Tensor
    sin: Tensor

    def __init__(
        self,
        *,
        n_layers: int,
        n_dense_layers: int,
        dim: int,
        n_heads: int,
        q_rank: int,
        kv_rank: int,
        plain: int,
        rotary: int,
        value: int,
        dense_ffn: int,
        ffn: int,
        n_experts: int,
        top_k: int,
        n_groups: int,
        top_groups: int,
        vocab: int,
        max_length: int,
        scale: float = 2.5,
        rope_base: float = 10_000.0,
        init_std: float = 0.006,
    ) -> None:
        super().__init__()
        self.n_moe_layers = n_layers - n_dense_layers
        self.embedding = nn.Embedding(vocab, dim)
        self.layers = nn.ModuleList()
        for layer in range(n_layers):
            attention = LatentAttention(dim, n_heads, q_rank, kv_rank, plain, rotary, value)
            if layer < n_dense_layers:
                self.layers.append(DenseBlock(dim, attention, dense_ffn))
            else:
                router = Router(dim, n_experts, top_k, n_groups, top_groups, scale)
                self.layers.append(MoEBlock(dim, attention, MoE(router, dim, ffn, n_experts)))
        self.norm = RMSNorm(dim)
        self.head = nn.Linear(dim, vocab, bias=False)
        cos, sin = rotary_tables(max_length, rotary, rope_base)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=init_std)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        length = tokens.shape[1]
        cos, sin = self.cos[:length], self.sin[:length]
        x = self.embedding(tokens)
        balance = x.new_zeros(())
        for layer in self.layers:
            x, layer_balance = layer(x, cos, sin)
            balance = balance + layer_balance
        return self.head(self.norm(x)), balance / self.n_moe_layers
