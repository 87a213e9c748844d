"""What a program knows of its pipeline stages before one of them is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """One stage. A program without a pipeline has one, which is the whole model.

    - `build` makes its module, of the mesh and the number of its first layer. Several stages may share it.
    - `keywords` names what its forward takes of a microbatch besides what comes first (tokens, or the output
      of the stage before): "tokens", "labels".
    - `outputs` are like what it sends to the next stage for one microbatch, on the meta device.
    """

    build: Callable[[DeviceMesh, int], nn.Module]
    first_layer: int = 0
    keywords: tuple[str, ...] = ()
    outputs: tuple[Tensor, ...] = ()
