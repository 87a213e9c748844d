"""A decoder-only Mixture-of-Experts transformer for one device, in plain PyTorch.

RMSNorm, rotary positions, grouped-query attention, a top-k softmax router over gated experts whose weights are stacked,
optionally a shared expert and dense first layers. Shape suffixes: B batch, S sequence, H model width, N = B x S tokens,
E experts, K experts a token, F width of a feed-forward layer.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RMSNorm(nn.Module):
    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


def rotary_tables(length: int, head_dim: int, base: float) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every position's angles, each (length, head_dim / 2)."""
    frequencies = base ** (-torch.arange(0, head_dim, 2) / head_dim)
    angles = torch.outer(torch.arange(length), frequencies)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs (x[i], x[i + head_dim / 2]) of a (B, heads, S, head_dim) tensor by their position's angle."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class Attention(nn.Module):
    """Causal grouped-query attention: `n_heads / n_kv_heads` queries share a key and a value."""

    def __init__(self, dim: int, n_heads: int, n_kv_heads: int) -> None:
        super().__init__()
        self.head_dim = dim // n_heads
        self.wq = nn.Linear(dim, n_heads * self.head_dim, bias=False)
        self.wk = nn.Linear(dim, n_kv_heads * self.head_dim, bias=False)
        self.wv = nn.Linear(dim, n_kv_heads * self.head_dim, bias=False)
        self.wo = nn.Linear(n_heads * self.head_dim, dim, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, _ = x.shape
        q = self.wq(x).view(batch, length, -1, self.head_dim).transpose(1, 2)
        k = self.wk(x).view(batch, length, -1, self.head_dim).transpose(1, 2)
        v = self.wv(x).view(batch, length, -1, self.head_dim).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.wo(out.transpose(1, 2).reshape(batch, length, -1))


class FeedForward(nn.Module):
    """SwiGLU: the dense layer, and the shared expert."""

    def __init__(self, dim: int, ffn: int) -> None:
        super().__init__()
        self.gate = nn.Linear(dim, ffn, bias=False)
        self.up = nn.Linear(dim, ffn, bias=False)
        self.down = nn.Linear(ffn, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Experts(nn.Module):
    """`n_experts` SwiGLU layers in three stacked weights."""

    def __init__(self, n_experts: int, dim: int, ffn: int) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.empty(n_experts, ffn, dim))
        self.up = nn.Parameter(torch.empty(n_experts, ffn, dim))
        self.down = nn.Parameter(torch.empty(n_experts, dim, ffn))

    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        """The weighted sum of each token's experts. tokens (N, H), indices and weights (N, K) -> (N, H)."""
        out = torch.zeros_like(tokens)
        for expert in range(self.gate.shape[0]):
            row, choice = torch.where(indices == expert)
            x = tokens[row]
            hidden = F.silu(F.linear(x, self.gate[expert])) * F.linear(x, self.up[expert])
            out.index_add_(0, row, F.linear(hidden, self.down[expert]) * weights[row, choice, None])
        return out


class Router(nn.Module):
    """Softmax over the experts, the best `top_k` of each token, and the balance loss of the Switch transformer."""

    def __init__(self, dim: int, n_experts: int, top_k: int) -> None:
        super().__init__()
        self.n_experts = n_experts
        self.top_k = top_k
        self.proj = nn.Linear(dim, n_experts, bias=False)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """tokens (N, H) -> indices (N, K), weights (N, K) that sum to 1, balance loss: a scalar, 1 when even."""
        probabilities = self.proj(tokens).softmax(dim=-1)
        weights, indices = probabilities.topk(self.top_k, dim=-1)
        weights = weights / weights.sum(dim=-1, keepdim=True)
        chosen = F.one_hot(indices, self.n_experts).to(probabilities.dtype)
        share = chosen.mean(dim=(0, 1))
        balance = self.n_experts * (share * probabilities.mean(dim=0)).sum()
        return indices, weights, balance


class MoE(nn.Module):
    def __init__(self, dim: int, ffn: int, n_experts: int, top_k: int, shared_ffn: int) -> None:
        super().__init__()
        self.router = Router(dim, n_experts, top_k)
        self.experts = Experts(n_experts, dim, ffn)
        self.shared = FeedForward(dim, shared_ffn) if shared_ffn else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        tokens = x.flatten(0, 1)
        indices, weights, balance = self.router(tokens)
        out = self.experts(tokens, indices, weights).view_as(x)
        if self.shared is not None:
            out = out + self.shared(x)
        return out, balance


class DenseBlock(nn.Module):
    def __init__(self, dim: int, n_heads: int, n_kv_heads: int, ffn: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(dim)
        self.attention = Attention(dim, n_heads, n_kv_heads)
        self.ffn_norm = RMSNorm(dim)
        self.ffn = FeedForward(dim, ffn)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        x = x + self.attention(self.attention_norm(x), cos, sin)
        return x + self.ffn(self.ffn_norm(x)), x.new_zeros(())


class MoEBlock(nn.Module):
    def __init__(
        self, dim: int, n_heads: int, n_kv_heads: int, ffn: int, n_experts: int, top_k: int, shared_ffn: int
    ) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(dim)
        self.attention = Attention(dim, n_heads, n_kv_heads)
        self.moe_norm = RMSNorm(dim)
        self.moe = MoE(dim, ffn, n_experts, top_k, shared_ffn)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        x = x + self.attention(self.attention_norm(x), cos, sin)
        out, balance = self.moe(self.moe_norm(x))
        return x + out, balance


class MoETransformer(nn.Module):
    """tokens (B, S) -> logits (B, S, vocab) and the balance loss, averaged over the layers that have experts."""

    cos: Tensor
    sin: Tensor

    def __init__(
        self,
        *,
        n_layers: int,
        dim: int,
        n_heads: int,
        n_kv_heads: int,
        ffn: int,
        n_experts: int,
        top_k: int,
        vocab: int,
        max_length: int,
        n_dense_layers: int = 0,
        dense_ffn: int | None = None,
        shared_ffn: int = 0,
        rope_base: float = 10_000.0,
        init_std: float = 0.02,
    ) -> None:
        super().__init__()
        self.n_moe_layers = n_layers - n_dense_layers
        self.embedding = nn.Embedding(vocab, dim)
        self.layers = nn.ModuleList(
            DenseBlock(dim, n_heads, n_kv_heads, dense_ffn or ffn)
            if layer < n_dense_layers
            else MoEBlock(dim, n_heads, n_kv_heads, ffn, n_experts, top_k, shared_ffn)
            for layer in range(n_layers)
        )
        self.norm = RMSNorm(dim)
        self.head = nn.Linear(dim, vocab, bias=False)
        cos, sin = rotary_tables(max_length, dim // n_heads, rope_base)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.init_weights(n_layers, init_std)

    def init_weights(self, n_layers: int, std: float) -> None:
        """Normal weights; those that write to the residual stream are narrowed by its depth, as in GPT-2."""
        nn.init.normal_(self.embedding.weight, std=std)
        nn.init.normal_(self.head.weight, std=std)
        narrow = std / math.sqrt(2 * n_layers)
        for name, parameter in self.layers.named_parameters():
            if name.endswith(("wo.weight", "down", "down.weight")):
                nn.init.trunc_normal_(parameter, std=narrow, a=-3 * narrow, b=3 * narrow)
            elif parameter.ndim > 1:
                nn.init.normal_(parameter, std=std)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        length = tokens.shape[1]
        cos, sin = self.cos[:length], self.sin[:length]
        x = self.embedding(tokens)
        balance = x.new_zeros(())
        for layer in self.layers:
            x, layer_balance = layer(x, cos, sin)
            balance = balance + layer_balance
        return self.head(self.norm(x)), balance / self.n_moe_layers
