"""Models that do what real ones do and the examples do not: each flag turns one habit on."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PackedExperts(nn.Module):
    """Gate and up in one weight, run by sorting tokens, as grouped products are fed."""

    def __init__(self, count: int, width: int, inner: int) -> None:
        super().__init__()
        self.gate_up = nn.Parameter(torch.randn(count, 2 * inner, width) * 0.2)
        self.down = nn.Parameter(torch.randn(count, width, inner) * 0.2)

    def forward(self, x: Tensor, chosen: Tensor, share: Tensor) -> Tensor:
        choices = chosen.shape[-1]
        order = chosen.flatten().argsort(stable=True)
        rows = x[order // choices]
        counts = torch.bincount(chosen.flatten(), minlength=len(self.down)).tolist()
        out = []
        for weight, down, part in zip(self.gate_up, self.down, rows.split(counts), strict=True):
            gate, up = F.linear(part, weight).chunk(2, dim=-1)
            out.append(F.linear(F.silu(gate) * up, down))
        weighted = torch.cat(out) * share.flatten()[order, None]
        return torch.zeros_like(x).index_add(0, order // choices, weighted)


class CastNorm(nn.Module):
    """RMSNorm in float32, whatever the model computes in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + torch.full((), 1e-6))
        return (wide * self.weight.float()).to(x.dtype)


class Mixture(nn.Module):
    def __init__(self, width: int, inner: int, count: int, casts: bool) -> None:
        super().__init__()
        self.score = nn.Linear(width, count)
        self.experts = PackedExperts(count, width, inner)
        self.scores_in = torch.float32 if casts else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        flat = x.view(-1, x.shape[-1])
        scores = self.score(flat).softmax(-1, dtype=self.scores_in).to(x.dtype)
        share, chosen = scores.topk(2)
        used = F.one_hot(chosen, scores.shape[-1]).sum(1).to(x.dtype).mean(0)
        return self.experts(flat, chosen, share).view_as(x), (used * scores.mean(0)).sum()


class Attention(nn.Module):
    """Query, key and value in one weight, one after the other, and a mask of padding."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, take: Tensor) -> Tensor:
        parts = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1)
        )
        mixed = F.scaled_dot_product_attention(*parts, attn_mask=take)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self, width: int, heads: int, inner: int, count: int, number: int, casts: bool) -> None:
        super().__init__()
        norm = CastNorm if casts else nn.RMSNorm
        self.before = norm(width)
        self.attention = Attention(width, heads)
        self.between = norm(width)
        self.mixture = Mixture(width, inner, count, casts)
        nn.init.normal_(self.attention.out.weight, std=0.2 / (number + 1))  # narrower with depth

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x = x + self.attention(self.before(x), take=mask)
        out, penalty = self.mixture(self.between(x))
        return x + out, 1 - penalty


class Odd(nn.Module):
    """tokens (B, S) -> logits (B, S, vocabulary), and the penalties of its layers, collected in a list."""

    def __init__(
        self,
        depth: int,
        width: int,
        heads: int,
        inner: int,
        count: int,
        vocabulary: int,
        tied: bool = False,
        frozen: bool = False,
        no_grad: bool = False,
        dropout: float = 0.0,
        shared_layer: bool = False,
        seldom: bool = False,
        unused: bool = False,
        casts: bool = False,
        order: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width, padding_idx=0)
        layers = [Layer(width, heads, inner, count, number, casts) for number in range(depth)]
        if shared_layer:
            layers[-1].attention.out = layers[0].attention.out
        self.stack = nn.ModuleList(layers)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.no_grad, self.dropout = no_grad, dropout
        self.seldom, self.order = seldom, order or range(depth)
        if seldom:
            self.scale = nn.Parameter(torch.ones(()))
            self.first_projection_of_tokens = nn.Linear(width, width)
            self.second_projection_of_tokens = nn.Linear(width, width)
        if unused:
            self.spare = nn.Linear(width, width)
        if tied:
            self.head.weight = self.embed.weight
        if frozen:
            self.head.weight.requires_grad_(False)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        length = ids.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
        first = torch.arange(length, device=ids.device) == 0
        mask = causal & (
            (ids != 0)[:, None, None, :] | first
        )  # the first position is always there to look at
        x = self.embed(ids)
        if self.no_grad:
            with torch.no_grad():
                x = x * 1.0
        x = F.dropout(x, self.dropout)
        if self.seldom:
            odd_ids = torch.logical_and(ids % 2, torch.logical_not(ids % 3))
            x = (
                self.first_projection_of_tokens(x).clone()
                * self.second_projection_of_tokens(x).clone().mean()
                + x
            )
            x = torch.rsub(x, x * self.scale, alpha=3) + odd_ids.unsqueeze(-1) * x
            x = x + (x @ self.head.weight.T @ self.head.weight).mT.transpose(1, 2) / 100
        penalties = []
        for number in self.order:
            x, penalty = self.stack[number](x, mask)
            penalties.append(penalty)
        return self.head(x), torch.stack(penalties).mean()
