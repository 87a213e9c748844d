"""Ranks that share updates: steps equal those on whole tensors, and each keeps its slices of the state."""

from __future__ import annotations

from math import ceil, prod

import pytest
import torch
from torch import nn

from parc.runtime import buckets
from parc.runtime.gradients import Gradients
from parc.runtime.init import initialize, normal
from parc.runtime.optim import AdamWSettings, ScheduledAdamW
from parc.runtime.placement import PlacedParameter, Placement, Precision, place_parameters
from parc.runtime.slices import SharedUpdates
from parc.runtime.topology import Topology
from tests.runtime.toy import DOUBLE

# name: (global shape, {axis: dim}); slices of 5 and of 7 elements have other lengths, or none
TENSORS: dict[str, tuple[tuple[int, ...], dict[str, int]]] = {
    "scale": ((1,), {}),
    "norm": ((5,), {}),
    "bias": ((7,), {}),
    "column": ((8, 3), {"tp": 0}),
    "experts": ((4, 3, 2), {"ep": 0}),
}
TERMS = {"dp": (0.25, 0.75), "ep": (0.375, 0.625)}  # of a gradient, on the ranks of an axis
ROUNDING = 1e-12  # float64, sums of fewer than 100 terms of order one
SETTINGS = AdamWSettings(lr=0.1, weight_decay=0.2, clip=0.7, warmup=2)


def place(topology: Topology, precision: Precision, compute: torch.dtype) -> list[PlacedParameter]:
    holder, table = nn.Module(), {}
    for name, (shape, places) in TENSORS.items():
        local = list(shape)
        for axis, dim in places.items():
            local[dim] //= topology.mesh[axis].size()
        reduce = tuple(axis for axis in ("dp", "ep") if axis not in places)
        table[name] = Placement(shape, places, init=normal(std=0.5), reduce=reduce, experts=name == "experts")
        holder.register_parameter(name, nn.Parameter(torch.empty(local, dtype=compute)))
    found = list(place_parameters(holder, table, topology.mesh, precision, ("ep", "dp")))
    initialize(found, seed=3)
    return found


def give_term(parameter: PlacedParameter, topology: Topology, step: int) -> None:
    """A gradient whose terms on the ranks add up to that of `draw_gradient`."""
    axes = parameter.placement.reduce or ()
    weight = prod(TERMS[axis][topology.mesh.get_local_rank(axis)] for axis in axes)
    share = parameter.select_share(draw_gradient(parameter.name, step)) * weight
    parameter.tensor.grad = share.contiguous().to(parameter.tensor.grad_dtype)


def draw_gradient(name: str, step: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(step * 100 + list(TENSORS).index(name))
    return torch.randn(TENSORS[name][0], dtype=torch.float64, generator=generator)


def train(precision: Precision, compute: torch.dtype) -> tuple[list[float], dict[str, dict[str, object]]]:
    """Three steps on a rank: norms, and of each parameter its value, what it kept, and its share's place."""
    topology = Topology.build({"dp": 2, "ep": 2, "tp": 2})
    parameters = place(topology, precision, compute)
    gradients = Gradients(parameters, topology.mesh)
    optimizer, shared = ScheduledAdamW(parameters, SETTINGS), SharedUpdates(parameters, topology.mesh)
    norms = []
    for step in range(3):
        for parameter in parameters:
            give_term(parameter, topology, step)
        gradients.complete()
        norms.append(gradients.compute_norm())
        gradients.clip(0.7, norms[-1])
        optimizer.step(step)
        shared.gather()
    return [float(norm) for norm in norms], {
        each.name: {
            "value": each.tensor.detach(),
            "master": each.master.clone(),
            "moment": optimizer.adamw.state[each.master]["exp_avg"],
            "own": each.select_slice(each.tensor.detach()).clone(),
            "is a view": each.master.untyped_storage().data_ptr() == each.tensor.untyped_storage().data_ptr(),
            "share": [(cut.dim, cut.rank, cut.ranks) for cut in each.cuts],
        }
        for each in parameters
    }


@pytest.mark.parametrize("bucket", [1, 10, buckets.BUCKET])
def test_three_clipped_steps_equal_torchs_own_on_whole_tensors(ranks, monkeypatch, bucket: int) -> None:
    monkeypatch.setattr(buckets, "BUCKET", bucket)
    values = {name: draw_whole(name).requires_grad_() for name in TENSORS}
    adamw = torch.optim.AdamW(values.values(), betas=(0.9, 0.95), eps=1e-8, weight_decay=0.2)
    norms = []
    for step in range(3):
        for name, value in values.items():
            value.grad = draw_gradient(name, step)
        norms.append(torch.nn.utils.clip_grad_norm_(values.values(), 0.7).item())
        adamw.param_groups[0]["lr"] = SETTINGS.learning_rate(step)
        adamw.step()
    for found_norms, found in ranks(8, train, DOUBLE, torch.float64):
        assert found_norms == pytest.approx(norms, rel=ROUNDING)
        for name, value in values.items():
            expected = value.detach()
            for dim, number, count in found[name]["share"]:
                expected = expected.chunk(count, dim)[number]
            torch.testing.assert_close(found[name]["value"], expected, rtol=ROUNDING, atol=ROUNDING)
            assert found[name]["is a view"]


def draw_whole(name: str) -> torch.Tensor:
    """The initial value of a whole tensor, as one rank alone draws it."""
    shape = TENSORS[name][0]
    holder = nn.Module()
    holder.register_parameter(name, nn.Parameter(torch.empty(shape, dtype=torch.float64)))
    table = {name: Placement(shape, init=normal(std=0.5), experts=name == "experts")}
    (found,) = place_parameters(holder, table, _Alone(), DOUBLE)  # type: ignore[arg-type]
    initialize([found], seed=3)
    return found.tensor.detach()


class _Alone:
    """A mesh without axes."""

    mesh_dim_names = ()


def test_a_rank_keeps_masters_of_its_slices_and_computes_with_all_of_them_rounded(ranks) -> None:
    kept = Precision(master=torch.float32, gradients=torch.float32)
    everyone = [found for _, found in ranks(8, train, kept, torch.bfloat16)]
    for name, (shape, places) in TENSORS.items():
        axes = [axis for axis in ("dp", "ep") if axis not in places]
        count = prod(shape) // 2 ** len(places)
        length = ceil(count / 2 ** len(axes))
        for rank, found in enumerate(everyone):
            at = dict(zip(("dp", "ep", "tp"), (rank // 4, rank // 2 % 2, rank % 2), strict=True))
            number = 0
            for axis in reversed(axes):  # the outer axis numbers neighbours
                number = 2 * number + at[axis]
            own = found[name]
            assert own["master"].shape == own["moment"].shape
            assert own["master"].numel() == max(0, min(length, count - number * length))
            assert not own["is a view"]
            assert torch.equal(own["own"], own["master"].bfloat16())
            first = everyone[sum(at[axis] * size for axis, size in (("ep", 2), ("tp", 1)) if axis in places)]
            assert torch.equal(own["value"], first[name]["value"])
    assert any(len(found["norm"]["master"]) == 0 for found in everyone)
