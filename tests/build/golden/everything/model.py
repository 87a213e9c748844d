"""The model of plan `everything` as every rank runs it: placements of parameters and classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from runtime.collectives import I, R, all_reduce, convert
from runtime.experts import combine, dispatch
from runtime.grouped import grouped_linear
from runtime.init import constant, normal, trunc_normal
from runtime.layers import ColumnLinear, RowLinear
from runtime.placement import Placement, declare_placements

NORMAL = normal(std=0.3)
TRUNC_NORMAL = trunc_normal(std=0.10606601717798211, low=-0.3181980515339463, high=0.3181980515339463)
PLACEMENTS = declare_placements(
    reduce=("ep",),
    parameters={
        "embedding.weight": Placement((256, 16), {"tp": 0}, init=NORMAL),
        "layers.*.attention_norm.weight": Placement((16,), init=constant(1.0)),
        "layers.*.attention.wq.weight": Placement((16, 16), {"tp": 0}, init=NORMAL),
        "layers.*.attention.wk.weight": Placement((8, 16), {"tp": 0}, init=NORMAL),
        "layers.*.attention.wv.weight": Placement((8, 16), {"tp": 0}, init=NORMAL),
        "layers.*.attention.wo.weight": Placement((16, 16), {"tp": 1}, init=TRUNC_NORMAL),
        "layers.*.moe_norm.weight": Placement((16,), init=constant(1.0)),
        "layers.*.moe.router.proj.weight": Placement((4, 16), init=NORMAL),
        "layers.*.moe.experts.gate": Placement((4, 24, 16), {"ep": 0, "tp": 1}, init=NORMAL, experts=True),
        "layers.*.moe.experts.up": Placement((4, 24, 16), {"ep": 0, "tp": 1}, init=NORMAL, experts=True),
        "layers.*.moe.experts.down": Placement(
            (4, 16, 24), {"ep": 0, "tp": 2}, init=TRUNC_NORMAL, experts=True
        ),
        "norm.weight": Placement((16,), init=constant(1.0)),
        "head.weight": Placement((256, 16), {"tp": 0}, init=NORMAL),
    },
)


class RMSNorm(nn.Module):
    """`layers.*.attention_norm` of the model."""

    def __init__(self) -> None:
        super().__init__()
        self.eps = 1e-6
        self.weight = nn.Parameter(torch.empty(16, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(dim=-1, keepdim=True) + self.eps).rsqrt() * self.weight


class Attention(nn.Module):
    """Causal grouped-query attention: `n_heads / n_kv_heads` queries share a key and a value.

    `layers.*.attention` of the model.
    """

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__()
        self.head_dim = 4
        self.tp = mesh.get_group("tp")
        self.wq = ColumnLinear(16, 16, self.tp, dtype=torch.float64)
        self.wk = ColumnLinear(16, 8, self.tp, dtype=torch.float64)
        self.wv = ColumnLinear(16, 8, self.tp, dtype=torch.float64)
        self.wo = RowLinear(16, 16, self.tp, dtype=torch.float64)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = convert(x, self.tp, src=I, dst=R)
        q = self.wq(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        k = self.wk(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        v = self.wv(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        first, second = q.chunk(2, dim=-1)
        q = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
        first, second = k.chunk(2, dim=-1)
        k = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.wo(out.transpose(1, 2).flatten(2))


class Router(nn.Module):
    """Softmax over the experts, the best `top_k` of each token, and the balance loss of the Switch paper.

    `layers.*.moe.router` of the model.
    """

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__()
        self.n_experts = 4
        self.top_k = 2
        self.ep = mesh.get_group("ep")
        self.proj = nn.Linear(16, 4, bias=False, dtype=torch.float64)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        probabilities = self.proj(tokens).softmax(dim=-1)
        weights, indices = probabilities.topk(self.top_k)
        weights = weights / weights.sum(dim=-1, keepdim=True)
        chosen = F.one_hot(indices, self.n_experts).to(torch.float64)
        share = chosen.mean(dim=(0, 1)) / self.ep.size()
        share = all_reduce(share, self.ep, dst=I)
        balance = (share * (probabilities.mean(dim=0) / self.ep.size())).sum() * self.n_experts
        return indices, weights, balance


class Experts(nn.Module):
    """`layers.*.moe.experts` of the model."""

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__()
        self.n_experts = 4
        self.ep = mesh.get_group("ep")
        self.gate = nn.Parameter(torch.empty(2, 12, 16, dtype=torch.float64))
        self.up = nn.Parameter(torch.empty(2, 12, 16, dtype=torch.float64))
        self.down = nn.Parameter(torch.empty(2, 16, 12, dtype=torch.float64))
        self.register_buffer(
            "tokens_per_expert",
            torch.zeros(self.n_experts, dtype=torch.int64, device=mesh.device_type),
            persistent=False,
        )

    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        x, counts, route = dispatch(tokens, indices, self.n_experts, self.ep)
        self.tokens_per_expert += route.tokens_per_expert
        hidden = F.silu(grouped_linear(x, self.gate, counts)) * grouped_linear(x, self.up, counts)
        return combine(grouped_linear(hidden, self.down, counts), weights, route)


class MoE(nn.Module):
    """`layers.*.moe` of the model."""

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__()
        self.tp = mesh.get_group("tp")
        self.router = Router(mesh)
        self.experts = Experts(mesh)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        tokens = x.flatten(0, 1)
        indices, weights, balance = self.router(tokens)
        tokens = convert(tokens, self.tp, src=I, dst=R)
        weights = convert(weights, self.tp, src=I, dst=R)
        out = self.experts(tokens, indices, weights).view_as(x)
        return out, balance


class MoEBlock(nn.Module):
    """`layers.*` of the model."""

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__()
        self.tp = mesh.get_group("tp")
        self.attention_norm = RMSNorm()
        self.attention = Attention(mesh)
        self.moe_norm = RMSNorm()
        self.moe = MoE(mesh)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        attention = self.attention(self.attention_norm(x), cos, sin)
        attention = all_reduce(attention, self.tp, dst=I)
        x = x + attention
        out, balance = self.moe(self.moe_norm(x))
        out = all_reduce(out, self.tp, dst=I)
        return x + out, balance
