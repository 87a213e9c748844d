"""A gradient that is not finite ends the run before the update."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from parc.runtime.placement import PlacedParameter


def check_not_finite(trainer: Any) -> Iterator[str]:
    """The last check: what the trainer holds is of no use afterwards.

    One term of each gradient of the ranks with the last stage is not a number; all ranks must stop, and leave
    the parameters as they were.
    """
    hooks = []
    if trainer.topology.last:
        mesh = trainer.topology.mesh
        spoilt = [each for each in trainer.parameters if _has_last_term(each, mesh)]
        hooks = [each.tensor.register_hook(_spoil) for each in spoilt]
    before = [each.kept.clone() for each in trainer.parameters]
    try:
        trainer.step(0)
    except SystemExit:
        pass
    else:
        yield "a gradient that is not a number does not end the run"
    for hook in hooks:
        hook.remove()
    pairs = zip(trainer.parameters, before, strict=True)
    if changed := [each.name for each, value in pairs if not torch.equal(each.kept, value)]:
        yield f"a gradient that is not a number still changes `{changed[0]}`"


def _has_last_term(parameter: PlacedParameter, mesh: DeviceMesh) -> bool:
    """Whether this rank computes the last term of the last shard: ranks that repeat it compute it alike."""
    axes = {*parameter.sharded_axes, *(parameter.placement.reduce or ())}
    return all(mesh.get_local_rank(axis) == mesh[axis].size() - 1 for axis in axes)


def _spoil(gradient: Tensor) -> Tensor:
    return gradient * float("nan")
