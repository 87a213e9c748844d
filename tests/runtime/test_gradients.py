"""Gradients: pending sums completed, every element counted once, a sharded step equal to the whole one."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import nn

from parc.runtime import buckets
from parc.runtime.gradients import Gradients
from parc.runtime.optim import AdamWSettings, ScheduledAdamW
from parc.runtime.placement import PlacedParameter, Placement, Precision, place_parameters
from parc.runtime.topology import Topology
from tests.runtime.toy import DOUBLE

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


def sharded(topology: Topology, reduce: tuple[str, ...] = ()) -> dict[str, PlacedParameter]:
    """Every tensor, as a parameter of a rank."""
    axes = topology.mesh.mesh_dim_names or ()
    holder, table = nn.Module(), {}
    for name, (shape, places) in TENSORS.items():
        kept = {axis: dim for axis, dim in places.items() if axis in axes}
        own = tuple(axis for axis in reduce if axis not in kept)
        table[name] = Placement(shape, kept, init=(), reduce=own)
        local = list(shape)
        for axis, dim in kept.items():
            local[dim] //= topology.mesh[axis].size()
        holder.register_parameter(name, nn.Parameter(torch.empty(local, dtype=torch.float64)))
    found = {each.name: each for each in place_parameters(holder, table, topology.mesh, DOUBLE)}
    for name, each in found.items():
        each.tensor.detach().copy_(each.select_share(whole(name, "value", stage=topology.stages[0])))
    return found


def gradients_of(topology: Topology, members: Mapping[str, PlacedParameter]) -> Gradients:
    return Gradients(list(members.values()), topology.mesh, topology.pipeline)


def give(parameter: PlacedParameter, gradient: torch.Tensor) -> None:
    """Sets the gradient as a backward pass would."""
    (parameter.tensor * parameter.select_share(gradient)).sum().backward()


@pytest.mark.parametrize("axes", [{}, {"ep": 2}, {"tp": 4}, {"ep": 2, "tp": 2}, {"dp": 2, "ep": 2, "tp": 2}])
def test_three_clipped_steps_equal_torchs_own_on_whole_tensors(ranks, axes) -> None:
    settings = AdamWSettings(lr=0.1, weight_decay=0.2, clip=0.7, warmup=2, decay="cosine", steps=5)

    def train() -> tuple[list[float], dict[str, tuple[torch.Tensor, list[tuple[int, int, int]]]]]:
        topology = Topology.build(axes)
        tensors = sharded(topology)
        gradients = gradients_of(topology, tensors)
        optimizer = ScheduledAdamW(list(tensors.values()), settings)
        norms = []
        for step in range(3):
            for name, tensor in tensors.items():
                if (name, step) != (
                    "router",
                    1,
                ):  # no microbatch reached it: a zero gradient, not a skipped one
                    give(tensor, whole(name, "gradient", step))
            gradients.complete()
            norms.append(gradients.compute_norm())
            gradients.clip(0.7, norms[-1])
            optimizer.step(step)
        return [norm.item() for norm in norms], {
            name: (each.tensor.detach(), [(cut.dim, cut.rank, cut.ranks) for cut in each.cuts])
            for name, each in tensors.items()
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
            mine, parts = found[name]
            expected = value.detach()
            for dim, number, count in parts:
                expected = expected.chunk(count, dim)[number]
            torch.testing.assert_close(mine, expected, rtol=ROUNDING, atol=ROUNDING)


def test_the_norm_is_taken_over_all_stages_of_a_pipeline(ranks) -> None:
    def norm() -> float:
        topology = Topology.build({"tp": 2, "pp": 2}, pipeline="pp")
        tensors = sharded(topology)
        for name, tensor in tensors.items():
            give(tensor, whole(name, "gradient", stage=topology.stages[0]))
        return gradients_of(topology, tensors).compute_norm().item()

    every = [whole(name, "gradient", stage=stage) for name in TENSORS for stage in (0, 1)]
    expected = torch.cat([gradient.flatten() for gradient in every]).norm().item()
    assert ranks(4, norm) == pytest.approx([expected] * 4, rel=ROUNDING)


@pytest.mark.parametrize("bucket", [1, 10, buckets.BUCKET])
def test_pending_sums_are_completed_over_exactly_their_axes(ranks, monkeypatch, bucket) -> None:
    monkeypatch.setattr(buckets, "BUCKET", bucket)

    def summed() -> dict[str, torch.Tensor]:
        topology = Topology.build({"dp": 2, "ep": 2})
        tensors = sharded(topology, reduce=("dp", "ep"))
        rank = torch.distributed.get_rank()
        for name, tensor in tensors.items():
            if name != "column":  # what no rank has a gradient of is zero afterwards
                give(tensor, whole(name, "gradient", step=rank))
        gradients_of(topology, tensors).complete()
        assert all(each.tensor.grad is not None for each in tensors.values())
        return {name: each.ensure_gradient() for name, each in tensors.items()}

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
        topology = Topology.build({"tp": 2})
        tensors = sharded(topology)
        for name, tensor in tensors.items():
            give(tensor, whole(name, "gradient"))
        gradients = gradients_of(topology, tensors)
        before = gradients.compute_norm()
        gradients.clip(limit, before)
        return before.item(), gradients.compute_norm().item()

    before, small = ranks(2, after, 0.5)[0]
    assert before > 1
    assert small == pytest.approx(0.5, rel=2e-6)  # torch's formula adds 1e-6 to the norm
    assert ranks(2, after, 100.0)[0] == (before, before)


def test_an_update_drops_the_gradients(ranks) -> None:
    def updated() -> bool:
        tensors = sharded(Topology.build({"tp": 2}))
        before = tensors["column"].tensor.clone()
        give(tensors["column"], whole("column", "gradient"))
        ScheduledAdamW(list(tensors.values()), AdamWSettings(lr=1.0)).step(0)
        column = tensors["column"].tensor
        return not torch.equal(column, before) and column.grad is None

    assert all(ranks(2, updated))


@pytest.mark.parametrize("shard", [(), ("dp",)])
def test_terms_are_rounded_before_they_are_sent_and_sums_are_kept_in_the_type_of_gradients(
    ranks, shard
) -> None:
    """Of 1 + 2 ** -10 bfloat16 has 1: what is lost is lost of each term, and not of the sum."""
    types = Precision(master=torch.float32, gradients=torch.float32, reduce=torch.bfloat16)

    def complete() -> torch.Tensor:
        topology = Topology.build({"dp": 2})
        holder = nn.Module()
        holder.register_parameter("weight", nn.Parameter(torch.empty(6)))
        table = {"weight": Placement((6,), init=(), reduce=("dp",))}
        parameters = place_parameters(holder, table, topology.mesh, types, shard)
        gradients = Gradients(parameters, topology.mesh)
        parameters[0].tensor.grad = torch.full((6,), 1 + 2**-10 + 2.0 * torch.distributed.get_rank())
        gradients.complete()
        return parameters[0].gradient.clone()

    for found in ranks(2, complete):
        assert torch.equal(found, torch.full((3 if shard else 6,), 4.0))
