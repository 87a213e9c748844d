"""The model of plan `sequence` as every rank runs it: placements of parameters and classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from runtime.collectives import I, R, S, all_gather, all_reduce, reduce_scatter
from runtime.experts import combine, dispatch
from runtime.grouped import grouped_linear
from runtime.init import constant, normal, trunc_normal
from runtime.layers import ColumnLinear, RowLinear
from runtime.placement import Placement, declare_placements

NORMAL = normal(std=0.02)
TRUNC_NORMAL = trunc_normal(std=0.0070710678118654745, low=-0.021213203435596423, high=0.021213203435596423)
PLACEMENTS = declare_placements(
    reduce=("dp", "tp"),
    parameters={
        "embedding.weight": Placement((256, 32), {"tp": 0}, init=NORMAL),
        "layers.*.attention_norm.weight": Placement((32,), init=constant(1.0)),
        "layers.*.attention.wq.weight": Placement((32, 32), {"tp": 0}, init=NORMAL),
        "layers.*.attention.wk.weight": Placement((16, 32), {"tp": 0}, init=NORMAL),
        "layers.*.attention.wv.weight": Placement((16, 32), {"tp": 0}, init=NORMAL),
        "layers.*.attention.wo.weight": Placement((32, 32), {"tp": 1}, init=TRUNC_NORMAL),
        "layers.*.ffn_norm.weight": Placement((32,), init=constant(1.0)),
        "layers.*.ffn.gate.weight": Placement((80, 32), {"tp": 0}, init=NORMAL),
        "layers.*.ffn.up.weight": Placement((80, 32), {"tp": 0}, init=NORMAL),
        "layers.*.ffn.down.weight": Placement((32, 80), {"tp": 1}, init=TRUNC_NORMAL),
        "layers.*.moe_norm.weight": Placement((32,), init=constant(1.0)),
        "layers.*.moe.router.proj.weight": Placement((8, 32), init=NORMAL),
        "layers.*.moe.experts.gate": Placement((8, 24, 32), {"tp": 0}, init=NORMAL, experts=True),
        "layers.*.moe.experts.up": Placement((8, 24, 32), {"tp": 0}, init=NORMAL, experts=True),
        "layers.*.moe.experts.down": Placement((8, 32, 24), {"tp": 0}, init=TRUNC_NORMAL, experts=True),
        "layers.*.moe.shared.gate.weight": Placement((16, 32), {"tp": 0}, init=NORMAL),
        "layers.*.moe.shared.up.weight": Placement((16, 32), {"tp": 0}, init=NORMAL),
        "layers.*.moe.shared.down.weight": Placement((32, 16), {"tp": 1}, init=TRUNC_NORMAL),
        "norm.weight": Placement((32,), init=constant(1.0)),
        "head.weight": Placement((256, 32), {"tp": 0}, init=NORMAL),
    },
)


class RMSNorm(nn.Module):
    """`layers.*.attention_norm` of the model."""

    def __init__(self) -> None:
        super().__init__()
        self.eps = 1e-6
        self.weight = nn.Parameter(torch.empty(32))

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(dim=-1, keepdim=True) + self.eps).rsqrt() * self.weight


class Attention(nn.Module):
    """Causal grouped-query attention: `n_heads / n_kv_heads` queries share a key and a value.

    `layers.*.attention` of the model.
    """

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__()
        self.head_dim = 8
        self.tp = mesh.get_group("tp")
        self.wq = ColumnLinear(32, 32, self.tp)
        self.wk = ColumnLinear(32, 16, self.tp)
        self.wv = ColumnLinear(32, 16, self.tp)
        self.wo = RowLinear(32, 32, self.tp)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = all_gather(x, self.tp, src=S(1), dst=R)
        q = self.wq(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        k = self.wk(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        v = self.wv(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        first, second = q.chunk(2, dim=-1)
        q = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
        first, second = k.chunk(2, dim=-1)
        k = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.wo(out.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """SwiGLU: the dense layer, and the shared expert.

    `layers.*.ffn` of the model.
    """

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__()
        self.tp = mesh.get_group("tp")
        self.gate = ColumnLinear(32, 80, self.tp)
        self.up = ColumnLinear(32, 80, self.tp)
        self.down = RowLinear(80, 32, self.tp)

    def forward(self, x: Tensor) -> Tensor:
        x = all_gather(x, self.tp, src=S(1), dst=R)
        return self.down(F.silu(self.gate(x)) * self.up(x))


class DenseBlock(nn.Module):
    """`layers.*` of the model."""

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__()
        self.tp = mesh.get_group("tp")
        self.attention_norm = RMSNorm()
        self.attention = Attention(mesh)
        self.ffn_norm = RMSNorm()
        self.ffn = FeedForward(mesh)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        attention = self.attention(self.attention_norm(x), cos, sin)
        attention = reduce_scatter(attention, self.tp, dst=S(1))
        x = x + attention
        ffn = self.ffn(self.ffn_norm(x))
        ffn = reduce_scatter(ffn, self.tp, dst=S(1))
        return x + ffn, x.new_zeros(())


class Router(nn.Module):
    """Softmax over the experts, the best `top_k` of each token, and the balance loss of the Switch paper.

    `layers.*.moe.router` of the model.
    """

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__()
        self.n_experts = 8
        self.top_k = 2
        self.dp = mesh.get_group("dp")
        self.tp = mesh.get_group("tp")
        self.proj = nn.Linear(32, 8, bias=False)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        probabilities = self.proj(tokens).softmax(dim=-1)
        weights, indices = probabilities.topk(self.top_k)
        weights = weights / weights.sum(dim=-1, keepdim=True)
        chosen = F.one_hot(indices, self.n_experts).to(torch.float32)
        share = chosen.mean(dim=(0, 1)) / (self.dp.size() * self.tp.size())
        share = all_reduce(share, self.dp, dst=I)
        share = all_reduce(share, self.tp, dst=I)
        balance = (
            share * (probabilities.mean(dim=0) / (self.dp.size() * self.tp.size()))
        ).sum() * self.n_experts
        return indices, weights, balance


class Experts(nn.Module):
    """`layers.*.moe.experts` of the model."""

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__()
        self.n_experts = 8
        self.tp = mesh.get_group("tp")
        self.gate = nn.Parameter(torch.empty(4, 24, 32))
        self.up = nn.Parameter(torch.empty(4, 24, 32))
        self.down = nn.Parameter(torch.empty(4, 32, 24))
        self.register_buffer(
            "tokens_per_expert",
            torch.zeros(self.n_experts, dtype=torch.int64, device=mesh.device_type),
            persistent=False,
        )

    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        x, counts, route = dispatch(tokens, indices, self.n_experts, self.tp)
        self.tokens_per_expert += route.tokens_per_expert
        hidden = F.silu(grouped_linear(x, self.gate, counts)) * grouped_linear(x, self.up, counts)
        return combine(grouped_linear(hidden, self.down, counts), weights, route)


class FeedForward2(nn.Module):
    """SwiGLU: the dense layer, and the shared expert.

    `layers.*.moe.shared` of the model.
    """

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__()
        self.tp = mesh.get_group("tp")
        self.gate = ColumnLinear(32, 16, self.tp)
        self.up = ColumnLinear(32, 16, self.tp)
        self.down = RowLinear(16, 32, self.tp)

    def forward(self, x: Tensor) -> Tensor:
        x = all_gather(x, self.tp, src=S(1), dst=R)
        return self.down(F.silu(self.gate(x)) * self.up(x))


class MoE(nn.Module):
    """`layers.*.moe` of the model."""

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__()
        self.tp = mesh.get_group("tp")
        self.router = Router(mesh)
        self.experts = Experts(mesh)
        self.shared = FeedForward2(mesh)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        tokens = x.flatten(0, 1)
        indices, weights, balance = self.router(tokens)
        out = self.experts(tokens, indices, weights).view_as(x)
        shared = self.shared(x)
        shared = reduce_scatter(shared, self.tp, dst=S(1))
        out = out + shared
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
        attention = reduce_scatter(attention, self.tp, dst=S(1))
        x = x + attention
        out, balance = self.moe(self.moe_norm(x))
        return x + out, balance
