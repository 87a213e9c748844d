"""Gradients: pending sums completed, every element counted once, a sharded step equal to the whole one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.distributed.tensor import DTensor

from parc.runtime import gradients
from parc.runtime.gradients import clip_gradients, global_norm, local_gradient, sync_gradients
from parc.runtime.layout import Layout
from parc.runtime.optim import AdamWSettings, ShardedAdamW
from parc.runtime.parameters import local_slices, parameter, sharded_axes

# name: (global shape, {axis: dim}); sizes differ, so that a term counted twice or lost shows
TENSORS: dict[str, tuple[tuple[int, ...], dict[str, int]]] = {
    "norm": ((5,), {}),
    "column": ((8, 3), {"tp": 0}),
    "row": ((3, 4), {"tp": 1}),
    "experts": ((4, 8, 2), {"ep": 0, "tp": 1}),
    "router": ((2, 3), {"ep": 0}),
}
ROUNDING = 1e-12  # float64, sums of fewer than 100 terms of order one


def whole(name: str, what: str, step: int = 0, stage: int = 0) -> torch.Tensor:
    """The same value or gradient of a whole tensor, whichever rank asks."""
    key = sum(map(ord, f"{name}{what}")) + 1000 * step + 100_000 * stage
    generator = torch.Generator().manual_seed(key)
    return torch.randn(TENSORS[name][0], dtype=torch.float64, generator=generator)


def sharded(layout: Layout, reduce: tuple[str, ...] = ()) -> dict[str, Any]:
    axes = layout.mesh.mesh_dim_names or ()
    made: dict[str, Any] = {}
    for name, (shape, places) in TENSORS.items():
        kept = {axis: dim for axis, dim in places.items() if axis in axes}
        own = tuple(axis for axis in reduce if axis not in kept)
        tensor: Any = parameter(layout.mesh, shape, kept, init=(), reduce=own, dtype=torch.float64)
        tensor.to_local().detach().copy_(whole(name, "value", stage=layout.stage)[local_slices(tensor)])
        made[name] = tensor
    return made


def give(tensor: Any, gradient: torch.Tensor) -> None:
    """Sets the gradient as a backward through `to_local` would."""
    (tensor.to_local() * gradient[local_slices(tensor)]).sum().backward()


@pytest.mark.parametrize("axes", [{}, {"ep": 2}, {"tp": 4}, {"ep": 2, "tp": 2}, {"dp": 2, "ep": 2, "tp": 2}])
def test_three_clipped_steps_equal_torchs_own_on_whole_tensors(ranks, axes) -> None:
    settings = AdamWSettings(lr=0.1, weight_decay=0.2, clip=0.7, warmup=2, decay="cosine", steps=5)

    def train() -> tuple[list[float], dict[str, torch.Tensor]]:
        tensors = sharded(Layout.build(axes))
        optimizer = ShardedAdamW(tensors.values(), settings)
        norms = []
        for step in range(3):
            for name, tensor in tensors.items():
                if (name, step) != (
                    "router",
                    1,
                ):  # no microbatch reached it: a zero gradient, not a skipped one
                    give(tensor, whole(name, "gradient", step))
            norms.append(global_norm(optimizer.parameters))
            clip_gradients(optimizer.parameters, 0.7, norms[-1])
            optimizer.step(step)
        return [norm.item() for norm in norms], {
            name: t.full_tensor().detach() for name, t in tensors.items()
        }

    values = {name: whole(name, "value").requires_grad_() for name in TENSORS}
    adamw = torch.optim.AdamW(values.values(), betas=(0.9, 0.95), eps=1e-8, weight_decay=0.2)
    norms = []
    for step in range(3):
        for name, value in values.items():
            unreached = (name, step) == ("router", 1)
            value.grad = torch.zeros_like(value) if unreached else whole(name, "gradient", step)
        norms.append(torch.nn.utils.clip_grad_norm_(values.values(), 0.7).item())
        adamw.param_groups[0]["lr"] = settings.learning_rate(step)
        adamw.step()

    for found_norms, found in ranks(torch.Size(axes.values()).numel(), train):
        assert found_norms == pytest.approx(norms, rel=ROUNDING)
        for name, value in values.items():
            torch.testing.assert_close(found[name], value.detach(), rtol=ROUNDING, atol=ROUNDING)


def test_the_norm_is_taken_over_all_stages_of_a_pipeline(ranks) -> None:
    def norm() -> float:
        layout = Layout.build({"tp": 2, "pp": 2}, pipeline="pp")
        tensors = sharded(layout)
        for name, tensor in tensors.items():
            give(tensor, whole(name, "gradient", stage=layout.stage))
        return global_norm(list(tensors.values()), layout.pipeline).item()

    every = [whole(name, "gradient", stage=stage) for name in TENSORS for stage in (0, 1)]
    expected = torch.cat([gradient.flatten() for gradient in every]).norm().item()
    assert ranks(4, norm) == pytest.approx([expected] * 4, rel=ROUNDING)


@pytest.mark.parametrize("bucket", [1, 10, gradients.BUCKET])
def test_pending_sums_are_completed_over_exactly_their_axes(ranks, monkeypatch, bucket) -> None:
    monkeypatch.setattr(gradients, "BUCKET", bucket)

    def summed() -> dict[str, torch.Tensor]:
        layout = Layout.build({"dp": 2, "ep": 2})
        tensors = sharded(layout, reduce=("dp", "ep"))
        rank = torch.distributed.get_rank()
        for name, tensor in tensors.items():
            if name != "column":  # what no rank has a gradient of is zero afterwards
                give(tensor, whole(name, "gradient", step=rank))
        sync_gradients(tensors.values())
        assert all(tensor.grad is not None for tensor in tensors.values())
        return {name: local_gradient(tensor) for name, tensor in tensors.items()}

    for rank, found in enumerate(ranks(4, summed)):
        ep = rank % 2
        for name, (shape, places) in TENSORS.items():
            terms = range(4) if "ep" not in places else (ep, 2 + ep)
            expected = sum(whole(name, "gradient", step=term) for term in terms)
            assert isinstance(expected, torch.Tensor)
            if "ep" in places:
                expected = expected.chunk(2, dim=places["ep"])[ep]
            if name == "column":
                expected = torch.zeros(shape, dtype=torch.float64)
            torch.testing.assert_close(found[name], expected, rtol=ROUNDING, atol=ROUNDING)


def test_no_gradient_above_the_limit_is_left_and_none_below_it_is_touched(ranks) -> None:
    def after(limit: float) -> tuple[float, float]:
        tensors = sharded(Layout.build({"tp": 2}))
        for name, tensor in tensors.items():
            give(tensor, whole(name, "gradient"))
        members = list(tensors.values())
        before = global_norm(members)
        clip_gradients(members, limit, before)
        return before.item(), global_norm(members).item()

    before, small = ranks(2, after, 0.5)[0]
    assert before > 1
    assert small == pytest.approx(0.5, rel=2e-6)  # torch's formula adds 1e-6 to the norm
    assert ranks(2, after, 100.0)[0] == (before, before)


def test_sharded_axes_are_those_that_hold_different_parts(ranks) -> None:
    def axes() -> dict[str, tuple[str, ...]]:
        return {
            name: sharded_axes(tensor) for name, tensor in sharded(Layout.build({"ep": 1, "tp": 2})).items()
        }

    found = ranks(2, axes)[0]
    assert found == {name: tuple(sorted(places)) for name, (_, places) in TENSORS.items()}


def test_a_shard_of_the_optimizer_is_the_parameters_own_memory(ranks) -> None:
    def shared() -> bool:
        tensors = sharded(Layout.build({"tp": 2}))
        optimizer = ShardedAdamW(tensors.values(), AdamWSettings(lr=1.0))
        before = optimizer.shards[1].clone()
        give(tensors["column"], whole("column", "gradient"))
        optimizer.step(0)
        column = tensors["column"]
        assert isinstance(column, DTensor)
        changed = not torch.equal(column.to_local(), before)
        return changed and torch.equal(column.to_local(), optimizer.shards[1]) and column.grad is None

    assert all(ranks(2, shared))
