"""A stage of plan `uneven_pipeline`: the parts of the model that it runs."""

from __future__ import annotations

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from model import SwitchBlock
from runtime.collectives import I, R, convert
from runtime.layers import ColumnLinear
from runtime.vocabulary import cross_entropy


class Stage(nn.Module):
    """2 layers from number `first_layer` on, and the loss."""

    def __init__(self, mesh: DeviceMesh, first_layer: int) -> None:
        super().__init__()
        self.penalty_weight = 0.01
        self.tp = mesh.get_group("tp")
        self.blocks = nn.ModuleDict({str(first_layer + i): SwitchBlock(mesh) for i in range(2)})
        self.ln = nn.LayerNorm(32)
        self.unembed = ColumnLinear(32, 256, self.tp, bias=True)

    def forward(self, h: Tensor, penalties: Tensor, labels: Tensor) -> Tensor:
        for layer in self.blocks.values():
            h, penalty = layer(h)
            penalties = penalties + penalty
        ln = self.ln(h)
        ln = convert(ln, self.tp, src=I, dst=R)
        scores = self.unembed(ln)
        loss = cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction="mean", vocabulary=self.tp)
        return loss + penalties * self.penalty_weight / 3
