"""The model of plan `tensor` as every rank runs it: placements of parameters and classes."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from runtime.collectives import I, R, convert
from runtime.init import constant, normal
from runtime.layers import ColumnLinear, RowLinear
from runtime.placement import Placement

NORMAL = normal(std=0.02)
NORMAL_2 = normal(std=0.008164965809277261)
PLACEMENTS = {
    "transformer.wte.weight": Placement((256, 48), {"tp": 0}, init=NORMAL),
    "transformer.wpe.weight": Placement((32, 48), init=NORMAL),
    "transformer.h.*.ln_1.weight": Placement((48,), init=constant(1.0)),
    "transformer.h.*.ln_1.bias": Placement((48,), init=constant(0.0)),
    "transformer.h.*.attn.c_attn.weight": Placement((144, 48), {"tp": (0, 3)}, init=NORMAL),
    "transformer.h.*.attn.c_attn.bias": Placement((144,), {"tp": (0, 3)}, init=constant(0.0)),
    "transformer.h.*.attn.c_proj.weight": Placement((48, 48), {"tp": 1}, init=NORMAL_2),
    "transformer.h.*.attn.c_proj.bias": Placement((48,), init=constant(0.0)),
    "transformer.h.*.ln_2.weight": Placement((48,), init=constant(1.0)),
    "transformer.h.*.ln_2.bias": Placement((48,), init=constant(0.0)),
    "transformer.h.*.mlp.c_fc.weight": Placement((192, 48), {"tp": 0}, init=NORMAL),
    "transformer.h.*.mlp.c_fc.bias": Placement((192,), {"tp": 0}, init=constant(0.0)),
    "transformer.h.*.mlp.c_proj.weight": Placement((48, 192), {"tp": 1}, init=NORMAL_2),
    "transformer.h.*.mlp.c_proj.bias": Placement((48,), init=constant(0.0)),
    "transformer.ln_f.weight": Placement((48,), init=constant(1.0)),
    "transformer.ln_f.bias": Placement((48,), init=constant(0.0)),
}


class CausalSelfAttention(nn.Module):
    """`transformer.h.*.attn` of the model."""

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__()
        self.tp = mesh.get_group("tp")
        self.c_attn = ColumnLinear(48, 144, self.tp, bias=True, blocks=3)
        self.c_proj = RowLinear(48, 48, self.tp, dst=I, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        x = convert(x, self.tp, src=I, dst=R)
        q, k, v = self.c_attn(x).chunk(3, dim=2)
        q = q.unflatten(-1, (-1, 12)).transpose(1, 2)
        k = k.unflatten(-1, (-1, 12)).transpose(1, 2)
        v = v.unflatten(-1, (-1, 12)).transpose(1, 2)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """`transformer.h.*.mlp` of the model."""

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__()
        self.tp = mesh.get_group("tp")
        self.c_fc = ColumnLinear(48, 192, self.tp, bias=True)
        self.c_proj = RowLinear(192, 48, self.tp, dst=I, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        x = convert(x, self.tp, src=I, dst=R)
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    """`transformer.h.*` of the model."""

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(48)
        self.attn = CausalSelfAttention(mesh)
        self.ln_2 = nn.LayerNorm(48)
        self.mlp = MLP(mesh)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))
