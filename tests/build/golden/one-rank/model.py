"""The model of plan `one_rank` as every rank runs it: placements of parameters and classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from runtime.experts import combine, dispatch
from runtime.grouped import grouped_linear
from runtime.init import constant, normal, scaled, uniform, with_zero_row
from runtime.placement import Placement

UNIFORM = uniform(-0.17677669529663684, 0.17677669529663684)
UNIFORM_2 = uniform(-0.17677669529663687, 0.17677669529663687)
NORMAL = scaled(normal(std=1.0), 0.2)
PLACEMENTS = {
    "embed.weight": Placement((256, 32), init=with_zero_row(normal(std=1.0), 0)),
    "stack.*.before.weight": Placement((32,), init=constant(1.0)),
    "stack.*.attention.qkv.weight": Placement((96, 32), init=UNIFORM),
    "stack.*.attention.qkv.bias": Placement((96,), init=UNIFORM_2),
    "stack.0.attention.out.weight": Placement((32, 32), init=normal(std=0.2)),
    "stack.1.attention.out.weight": Placement((32, 32), init=normal(std=0.1)),
    "stack.2.attention.out.weight": Placement((32, 32), init=normal(std=0.06666666666666667)),
    "stack.*.attention.out.bias": Placement((32,), init=UNIFORM_2),
    "stack.*.between.weight": Placement((32,), init=constant(1.0)),
    "stack.*.mixture.score.weight": Placement((4, 32), init=UNIFORM),
    "stack.*.mixture.score.bias": Placement((4,), init=UNIFORM_2),
    "stack.*.mixture.experts.gate_up": Placement((4, 80, 32), init=NORMAL, experts=True),
    "stack.*.mixture.experts.down": Placement((4, 32, 40), init=NORMAL, experts=True),
    "head.weight": Placement((256, 32), init=UNIFORM),
}


class CastNorm(nn.Module):
    """RMSNorm in float32, whatever the model computes in.

    `stack.*.before` of the model.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(32))

    def forward(self, x: Tensor) -> Tensor:
        hidden = (x.square().mean(dim=-1, keepdim=True) + torch.full((), 1e-6, device=x.device)).rsqrt()
        wide = x * hidden
        return wide * self.weight


class Attention(nn.Module):
    """Query, key and value in one weight, one after the other, and a mask of padding.

    `stack.*.attention` of the model.
    """

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(32, 96)
        self.out = nn.Linear(32, 32)

    def forward(self, x: Tensor, take: Tensor) -> Tensor:
        parts_0, parts_1, parts_2 = self.qkv(x).chunk(3, dim=-1)
        parts_0 = parts_0.unflatten(-1, (-1, 8)).transpose(1, 2)
        parts_1 = parts_1.unflatten(-1, (-1, 8)).transpose(1, 2)
        parts_2 = parts_2.unflatten(-1, (-1, 8)).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(parts_0, parts_1, parts_2, attn_mask=take)
        return self.out(mixed.transpose(1, 2).flatten(2))


class PackedExperts(nn.Module):
    """`stack.*.mixture.experts` of the model."""

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__()
        self.n_experts = 4
        self.gate_up = nn.Parameter(torch.empty(4, 80, 32))
        self.down = nn.Parameter(torch.empty(4, 32, 40))
        self.register_buffer(
            "tokens_per_expert",
            torch.zeros(self.n_experts, dtype=torch.int64, device=mesh.device_type),
            persistent=False,
        )

    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        x, counts, route = dispatch(tokens, indices, self.n_experts)
        self.tokens_per_expert += route.tokens_per_expert
        hidden, hidden_2 = grouped_linear(x, self.gate_up, counts).chunk(2, dim=-1)
        return combine(grouped_linear(F.silu(hidden) * hidden_2, self.down, counts), weights, route)


class Mixture(nn.Module):
    """`stack.*.mixture` of the model."""

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__()
        self.n_experts = 4
        self.score = nn.Linear(32, 4)
        self.experts = PackedExperts(mesh)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        flat = x.flatten(0, -2)
        scores = self.score(flat).softmax(dim=-1, dtype=torch.float32)
        share, chosen = scores.topk(2)
        used = F.one_hot(chosen, self.n_experts).sum(dim=1).to(torch.float32).mean(dim=0)
        return self.experts(flat, chosen, share).view_as(x), (used * scores.mean(dim=0)).sum()


class Layer(nn.Module):
    """`stack.*` of the model."""

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__()
        self.before = CastNorm()
        self.attention = Attention()
        self.between = CastNorm()
        self.mixture = Mixture(mesh)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x = x + self.attention(self.before(x), mask)
        out, penalty = self.mixture(self.between(x))
        return x + out, 1 - penalty
