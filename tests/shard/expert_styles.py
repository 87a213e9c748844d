"""Modules of experts as people write them. All take tokens (N, H), indices and weights (N, K)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EXPERTS, H, INNER = 5, 4, 6


def parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(*shape))


class Mlp(nn.Module):
    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.gate = nn.Linear(H, INNER, bias=False)
        self.up = nn.Linear(H, INNER)
        self.down = nn.Linear(INNER, H)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x)) * self.scale


class Listed(nn.Module):
    """A loop with torch.where and index_add_, as in Mixtral."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(Mlp() for _ in range(EXPERTS))

    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        out = torch.zeros_like(tokens)
        chosen = F.one_hot(indices, len(self.experts)).permute(2, 1, 0)
        for number, expert in enumerate(self.experts):
            choice, token = torch.where(chosen[number])
            out.index_add_(0, token, expert(tokens[token]) * weights[token, choice, None])
        return out


class Masked(Listed):
    """A mask an expert, and on to the next where nobody chose it."""

    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            mask = indices == number
            rows = mask.any(dim=-1)
            if not rows.any():
                continue
            share = (weights * mask).sum(dim=-1)
            out[rows] += expert(tokens[rows]) * share[rows].unsqueeze(-1)
        return out


class Sequentials(Masked):
    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(H, INNER), nn.GELU(), nn.Linear(INNER, H)) for _ in range(EXPERTS)
        )


class Packed(nn.Module):
    """Stacked weights, gate and up in one, as in Qwen3-MoE; `order` says which of the two comes first."""

    def __init__(self, gate_first: bool = True) -> None:
        super().__init__()
        self.gate_up = parameter(EXPERTS, 2 * INNER, H)
        self.down = parameter(EXPERTS, H, INNER)
        self.gate_first = gate_first

    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        out = torch.zeros_like(tokens)
        for number in indices.unique().tolist():
            token, choice = torch.where(indices == number)
            halves = F.linear(tokens[token], self.gate_up[number]).chunk(2, dim=-1)
            gate, up = halves if self.gate_first else halves[::-1]
            rows = F.linear(F.silu(gate) * up, self.down[number])
            out.index_add_(0, token, rows * weights[token, choice].unsqueeze(-1))
        return out


class UpFirst(Packed):
    def __init__(self) -> None:
        super().__init__(gate_first=False)


class Transposed(nn.Module):
    """Weights (E, in, out), biases, and a clamped activation, as in gpt-oss (its interleaving left out)."""

    def __init__(self) -> None:
        super().__init__()
        self.gate_up = parameter(EXPERTS, H, 2 * INNER)
        self.gate_up_bias = parameter(EXPERTS, 2 * INNER)
        self.down = parameter(EXPERTS, INNER, H)
        self.down_bias = parameter(EXPERTS, H)

    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        out = torch.zeros_like(tokens)
        for number in range(EXPERTS):
            token, choice = torch.where(indices == number)
            both = tokens[token] @ self.gate_up[number] + self.gate_up_bias[number]
            gate, up = both.chunk(2, dim=-1)
            gate, up = gate.clamp(max=7.0), up.clamp(min=-7.0, max=7.0)
            rows = (up + 1) * (gate * torch.sigmoid(gate * 1.702)) @ self.down[number] + self.down_bias[
                number
            ]
            out.index_add_(0, token, rows * weights[token, choice, None])
        return out


class Behind(Listed):
    """Tokens behind a dim of 1, picked and put by masks, as where a block keeps the dims of sequences."""

    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        sequence = tokens[None]
        out = torch.zeros_like(sequence)
        for number, expert in enumerate(self.experts):
            row, choice = torch.where(indices == number)
            mask = (indices == number).any(dim=-1)[None]
            out[mask] += expert(sequence[mask]) * weights[row, choice, None]
        return out[0]


class BehindNone(Listed):
    """Rows that are picked with a new dim before them, as Mixtral had it in transformers."""

    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            choice, row = torch.where((indices == number).T)
            rows = tokens[None, row].reshape(-1, tokens.shape[-1])
            out.index_add_(0, row, expert(rows) * weights[row, choice, None])
        return out


class Summed(Listed):
    """A sum of tensors with a row for each token, zeros but for the tokens of one expert."""

    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            row, choice = torch.where(indices == number)
            made = torch.zeros_like(tokens)
            made[row] = expert(tokens[row]) * weights[row, choice, None]
            out = out + made
        return out


class ScatterAdded(Listed):
    """Rows sorted by expert, added where they came from by numbers that are spread over the width."""

    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        order = indices.flatten().argsort(stable=True)
        row = order // indices.shape[1]
        parts = tokens[row].split(indices.flatten().bincount(minlength=len(self.experts)).tolist())
        made = torch.cat([expert(part) for expert, part in zip(self.experts, parts, strict=True)])
        made = made * weights.flatten()[order, None]
        return torch.zeros_like(tokens).scatter_add(0, row[:, None].expand_as(made), made)


class Sorted(nn.Module):
    """Rows sorted by expert, one grouped product for all, as in torchtitan."""

    def __init__(self) -> None:
        super().__init__()
        self.w1 = parameter(EXPERTS, 16, 8)
        self.w2 = parameter(EXPERTS, 8, 16)

    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        flat = indices.flatten()
        order = flat.argsort(stable=True)
        offsets = torch.bincount(flat, minlength=EXPERTS).cumsum(0).to(torch.int32)
        token = order // indices.shape[1]
        rows = torch._grouped_mm(tokens[token], self.w1.transpose(-2, -1), offs=offsets)
        rows = torch._grouped_mm(F.silu(rows), self.w2.transpose(-2, -1), offs=offsets)
        rows = rows * weights.flatten()[order].unsqueeze(-1)
        return torch.zeros_like(tokens).index_add(0, token, rows)


class SortedInOut(Sorted):
    """The same with weights (E, in, out)."""

    def __init__(self) -> None:
        super().__init__()
        self.w1 = parameter(EXPERTS, 8, 16)
        self.w2 = parameter(EXPERTS, 16, 8)

    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        flat = indices.flatten()
        order = flat.argsort(stable=True)
        offsets = torch.bincount(flat, minlength=EXPERTS).cumsum(0).to(torch.int32)
        token = order // indices.shape[1]
        rows = torch._grouped_mm(
            F.silu(torch._grouped_mm(tokens[token], self.w1, offs=offsets)), self.w2, offs=offsets
        )
        rows = rows * weights.flatten()[order].unsqueeze(-1)
        return torch.zeros_like(tokens).index_add(0, token, rows)


class Repeated(Packed):
    """Every token repeated for each of its choices, which a view and a sum add up, as in DeepSeek."""

    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        choices = indices.shape[1]
        rows = tokens.repeat_interleave(choices, dim=0)
        flat = indices.flatten()
        made = torch.empty_like(rows)
        for number in range(EXPERTS):
            mask = flat == number
            gate, up = F.linear(rows[mask], self.gate_up[number]).chunk(2, dim=-1)
            made[mask] = F.linear(F.silu(gate) * up, self.down[number])
        return (made.view(len(tokens), choices, -1) * weights.unsqueeze(-1)).sum(dim=1)


class Sliced(Packed):
    """Rows sorted by expert, and a slice for each, as in DeepSeek's reference code."""

    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        counts = torch.bincount(indices.flatten(), minlength=EXPERTS).tolist()
        order = indices.flatten().argsort(stable=True)
        rows = tokens[order // indices.shape[1]]
        made, start = [], 0
        for number, count in enumerate(counts):
            gate, up = F.linear(rows[start : start + count], self.gate_up[number]).chunk(2, dim=-1)
            made.append(F.linear(F.silu(gate) * up, self.down[number]))
            start += count
        back = torch.empty_like(rows)
        back[order] = torch.cat(made)
        return (back.view(*indices.shape, -1) * weights.unsqueeze(-1)).sum(dim=1)


STYLES = (
    Listed,
    Masked,
    Behind,
    BehindNone,
    Summed,
    ScatterAdded,
    Sequentials,
    Packed,
    UpFirst,
    Transposed,
    Sorted,
    SortedInOut,
    Repeated,
    Sliced,
)
