"""The model of plan `experts` as every rank runs it: placements of parameters and classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from runtime.collectives import I, all_reduce
from runtime.experts import combine, dispatch
from runtime.init import constant, trunc_normal, uniform
from runtime.layers import GroupedLinear
from runtime.placement import Placement, declare_placements

TRUNC_NORMAL = trunc_normal(std=0.02)
UNIFORM = uniform(-0.23145502494313785, 0.23145502494313785)
PLACEMENTS = declare_placements(
    reduce=("ep",),
    parameters={
        "symbols.weight": Placement((256, 32), init=TRUNC_NORMAL),
        "places.weight": Placement((24, 32), init=TRUNC_NORMAL),
        "blocks.*.ln1.weight": Placement((32,), init=constant(1.0)),
        "blocks.*.ln1.bias": Placement((32,), init=constant(0.0)),
        "blocks.*.attn.qkv.weight": Placement(
            (96, 32), init=uniform(-0.21650635094610965, 0.21650635094610965)
        ),
        "blocks.*.attn.qkv.bias": Placement((96,), init=constant(0.0)),
        "blocks.*.attn.out.weight": Placement(
            (32, 32), init=uniform(-0.3061862178478973, 0.3061862178478973)
        ),
        "blocks.*.attn.out.bias": Placement((32,), init=constant(0.0)),
        "blocks.*.ln2.weight": Placement((32,), init=constant(1.0)),
        "blocks.*.ln2.bias": Placement((32,), init=constant(0.0)),
        "blocks.*.switch.gate.weight": Placement(
            (4, 32), init=uniform(-0.40824829046386296, 0.40824829046386296)
        ),
        "blocks.*.switch.gate.bias": Placement((4,), init=constant(0.0)),
        "blocks.*.switch.bank.specialists.fc1.weight": Placement(
            (4, 80, 32), {"ep": 0}, init=UNIFORM, stack="blocks.*.switch.bank.specialists"
        ),
        "blocks.*.switch.bank.specialists.fc1.bias": Placement(
            (4, 80), {"ep": 0}, init=constant(0.0), stack="blocks.*.switch.bank.specialists"
        ),
        "blocks.*.switch.bank.specialists.fc2.weight": Placement(
            (4, 32, 80), {"ep": 0}, init=UNIFORM, stack="blocks.*.switch.bank.specialists"
        ),
        "blocks.*.switch.bank.specialists.fc2.bias": Placement(
            (4, 32), {"ep": 0}, init=constant(0.0), stack="blocks.*.switch.bank.specialists"
        ),
        "ln.weight": Placement((32,), init=constant(1.0)),
        "ln.bias": Placement((32,), init=constant(0.0)),
        "unembed.weight": Placement((256, 32), init=uniform(-0.14433756729740643, 0.14433756729740643)),
        "unembed.bias": Placement((256,), init=constant(0.0)),
    },
)


class CausalSelfAttention(nn.Module):
    """`blocks.*.attn` of the model."""

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__()
        self.scale = 0.3535533905932738
        self.qkv = nn.Linear(32, 96)
        self.out = nn.Linear(32, 32)
        device = mesh.device_type
        self.register_buffer(
            "visible", torch.ones((24, 24), dtype=torch.bool, device=device).tril(), persistent=False
        )

    def forward(self, h: Tensor) -> Tensor:
        length = h.shape[1]
        q, k, v = self.qkv(h).unflatten(-1, (-1, 3, 8)).permute((3, 0, 2, 1, 4)).unbind()
        scores = q @ k.transpose(-2, -1) * self.scale
        scores = scores.masked_fill(~self.visible[:length][:, :length], float("-inf"))
        mixed = scores.softmax(dim=-1) @ v
        return self.out(mixed.transpose(1, 2).flatten(2))


class ExpertBank(nn.Module):
    """`blocks.*.switch.bank` of the model."""

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__()
        self.n_experts = 4
        self.ep = mesh.get_group("ep")
        self.specialists = nn.ModuleDict(
            {
                "fc1": GroupedLinear(self.n_experts, 32, 80, bias=True, experts=self.ep),
                "fc2": GroupedLinear(self.n_experts, 80, 32, bias=True, experts=self.ep),
            }
        )
        self.register_buffer(
            "tokens_per_expert",
            torch.zeros(self.n_experts, dtype=torch.int64, device=mesh.device_type),
            persistent=False,
        )

    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        x, counts, route = dispatch(tokens, indices, self.n_experts, self.ep)
        self.tokens_per_expert += route.tokens_per_expert
        return combine(self.specialists.fc2(F.gelu(self.specialists.fc1(x, counts)), counts), weights, route)


class SwitchLayer(nn.Module):
    """`blocks.*.switch` of the model."""

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__()
        self.count = 4
        self.ep = mesh.get_group("ep")
        self.gate = nn.Linear(32, 4)
        self.bank = ExpertBank(mesh)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        length = h.shape[1]
        flat = h.flatten(0, -2)
        probs = self.gate(flat).softmax(dim=-1)
        top, winner = probs.max(dim=-1, keepdim=True)
        load = F.one_hot(winner.squeeze(-1), self.count).to(torch.float32).mean(dim=0) / self.ep.size()
        load = all_reduce(load, self.ep, dst=I)
        penalty = (load * (probs.mean(dim=0) / self.ep.size())).sum() * self.count
        return self.bank(flat, winner, top).unflatten(0, (-1, length)), penalty


class SwitchBlock(nn.Module):
    """`blocks.*` of the model."""

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(32)
        self.attn = CausalSelfAttention(mesh)
        self.ln2 = nn.LayerNorm(32)
        self.switch = SwitchLayer(mesh)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        h = h + self.attn(self.ln1(h))
        update, penalty = self.switch(self.ln2(h))
        return h + update, penalty
