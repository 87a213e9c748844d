"""The model of the compile benchmarks: one decoder whose experts are stacked weights, or a list of modules.

In shapes: B batch, S sequence, H model width, N = B x S tokens, K experts a token.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Expert(nn.Module):
    """One expert of a list: GELU, or SwiGLU where it is gated."""

    def __init__(self, dim: int, ffn: int, gated: bool) -> None:
        super().__init__()
        self.up = nn.Linear(dim, ffn, bias=False)
        self.gate = nn.Linear(dim, ffn, bias=False) if gated else None
        self.down = nn.Linear(ffn, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        up = self.up(x)
        down: Tensor = self.down(F.gelu(up) if self.gate is None else F.silu(self.gate(x)) * up)
        return down


class ExpertList(nn.Module):
    """tokens (N, H), indices and weights (N, K) -> (N, H)."""

    def __init__(self, count: int, dim: int, ffn: int, gated: bool) -> None:
        super().__init__()
        self.experts = nn.ModuleList(Expert(dim, ffn, gated) for _ in range(count))

    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            row, choice = torch.where(indices == number)
            out.index_add_(0, row, expert(tokens[row]) * weights[row, choice, None])
        return out


class StackedExperts(nn.Module):
    """tokens (N, H), indices and weights (N, K) -> (N, H)."""

    def __init__(self, count: int, dim: int, ffn: int, gated: bool) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.empty(count, ffn, dim))
        self.gate = nn.Parameter(torch.empty(count, ffn, dim)) if gated else None
        self.down = nn.Parameter(torch.empty(count, dim, ffn))
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        out = torch.zeros_like(tokens)
        for number in range(len(self.up)):
            row, choice = torch.where(indices == number)
            x = tokens[row]
            up = F.linear(x, self.up[number])
            hidden = F.gelu(up) if self.gate is None else F.silu(F.linear(x, self.gate[number])) * up
            out.index_add_(0, row, F.linear(hidden, self.down[number]) * weights[row, choice, None])
        return out


class Attention(nn.Module):
    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.head_dim = dim // n_heads
        self.wq = nn.Linear(dim, dim, bias=False)
        self.wk = nn.Linear(dim, dim, bias=False)
        self.wv = nn.Linear(dim, dim, bias=False)
        self.wo = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        q = self.wq(x).view(batch, length, -1, self.head_dim).transpose(1, 2)
        k = self.wk(x).view(batch, length, -1, self.head_dim).transpose(1, 2)
        v = self.wv(x).view(batch, length, -1, self.head_dim).transpose(1, 2)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        projected: Tensor = self.wo(out.transpose(1, 2).reshape(batch, length, -1))
        return projected


class MoE(nn.Module):
    def __init__(self, dim: int, ffn: int, count: int, top_k: int, style: str, gated: bool) -> None:
        super().__init__()
        self.top_k = top_k
        self.router = nn.Linear(dim, count, bias=False)
        experts = ExpertList if style == "list" else StackedExperts
        self.experts = experts(count, dim, ffn, gated)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, 1)
        weights, indices = self.router(tokens).softmax(dim=-1).topk(self.top_k, dim=-1)
        out: Tensor = self.experts(tokens, indices, weights).view_as(x)
        return out


class Block(nn.Module):
    def __init__(
        self, dim: int, n_heads: int, ffn: int, count: int, top_k: int, style: str, gated: bool
    ) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(dim)
        self.attention = Attention(dim, n_heads)
        self.moe_norm = nn.RMSNorm(dim)
        self.moe = MoE(dim, ffn, count, top_k, style, gated)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        out: Tensor = x + self.moe(self.moe_norm(x))
        return out


class Decoder(nn.Module):
    """tokens (B, S) -> logits (B, S, vocabulary). `style` of the experts: "list" or "stacked"."""

    def __init__(
        self,
        *,
        n_layers: int,
        dim: int,
        n_heads: int,
        ffn: int,
        n_experts: int,
        top_k: int,
        vocab: int,
        max_length: int,
        style: str,
        gated: bool,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, dim)
        self.positions = nn.Embedding(max_length, dim)
        self.layers = nn.ModuleList(
            Block(dim, n_heads, ffn, n_experts, top_k, style, gated) for _ in range(n_layers)
        )
        self.norm = nn.RMSNorm(dim)
        self.head = nn.Linear(dim, vocab, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.head(self.norm(x))
        return logits
