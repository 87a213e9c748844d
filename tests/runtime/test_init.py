"""Initial values: the same numbers on every layout, another draw for every tensor and every expert."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh

from parc.capture.model.stored_values import format_file
from parc.runtime import init
from parc.runtime.init import draw, drawn_as, initialize, scaled, stored
from parc.runtime.placement import Placement, place_parameters
from parc.runtime.stored_values import StoredValues
from parc.runtime.topology import Topology
from tests.runtime.toy import SINGLE

NORMAL = (("normal_", 0.0, 0.02),)
EXPERTS = 4


def table(tp: tuple[str, ...], ep: tuple[str, ...]) -> dict[str, Placement]:
    """One parameter of each kind: replicated, column, row, stacked by the user, stacked by the compiler."""

    def over(axes: tuple[str, ...], dim: int) -> dict[str, int]:
        return dict.fromkeys(axes, dim)

    return {
        "norm": Placement((6,), init=(("fill_", 1.0),)),
        "column": Placement((8, 6), over(tp, 0), init=NORMAL),
        "row": Placement((6, 8), over(tp, 1), init=NORMAL),
        "experts.up": Placement((EXPERTS, 6, 8), over(ep, 0) | over(tp, 2), init=NORMAL, experts=True),
        "bank.fc.weight": Placement((EXPERTS, 4, 2), over(ep, 0), init=NORMAL, stack="bank"),
    }


def holder(placements: Mapping[str, Placement], mesh: DeviceMesh) -> nn.Module:
    """A module with a local tensor for each entry."""
    root = nn.Module()
    for path, placement in placements.items():
        local = list(placement.shape)
        for axis, at in placement.sharded.items():
            local[at if isinstance(at, int) else at[0]] //= mesh[axis].size()
        *parents, last = path.split(".")
        module = root
        for parent in parents:
            if not hasattr(module, parent):
                module.add_module(parent, nn.Module())
            module = module.get_submodule(parent)
        module.register_parameter(last, nn.Parameter(torch.empty(local)))
    return root


Shares = dict[str, tuple[torch.Tensor, list[tuple[int, int, int]]]]


def local_values(axes: dict[str, int], tp: tuple[str, ...], ep: tuple[str, ...]) -> Shares:
    """Each local tensor, and which part of the whole one it is: (dim, number, of how many)."""
    mesh, placements = Topology.build(axes).mesh, table(tp, ep)
    found = place_parameters(holder(placements, mesh), placements, mesh, SINGLE)
    initialize(found, seed=7)
    return {
        each.name: (each.tensor.detach(), [(cut.dim, cut.rank, cut.ranks) for cut in each.cuts])
        for each in found
    }


@pytest.mark.parametrize(
    ("axes", "tp", "ep"),
    [
        ({"tp": 2}, ("tp",), ()),
        ({"ep": 4}, (), ("ep",)),
        ({"ep": 2, "tp": 2}, ("tp",), ("ep",)),
        ({"tp": 2, "ep": 2}, ("tp",), ("ep",)),
        ({"a": 2, "b": 2}, ("a", "b"), ()),  # two axes share a dim: the outer one splits first
        ({"a": 2, "b": 2, "tp": 2}, ("tp",), ("a", "b")),
    ],
)
def test_no_layout_changes_an_initial_value(ranks, axes, tp, ep) -> None:
    (alone,) = ranks(1, local_values, {}, (), ())
    world = torch.Size(axes.values()).numel()
    for values in ranks(world, local_values, axes, tp, ep):
        for name, (value, parts) in values.items():
            expected, _ = alone[name]
            for dim, number, count in parts:
                expected = expected.chunk(count, dim)[number]
            assert torch.equal(value, expected), name


def test_values_are_those_drawn_under_the_users_own_names(ranks) -> None:
    (found,) = ranks(1, local_values, {}, (), ())
    values = {name: value for name, (value, _) in found.items()}
    assert torch.equal(values["column"], draw(7, "column", (8, 6), torch.float32, NORMAL))
    assert torch.equal(values["norm"], torch.ones(6))
    for expert in range(EXPERTS):
        stacked = draw(7, "experts.up", (6, 8), torch.float32, NORMAL, expert)
        listed = draw(7, f"bank.{expert}.fc.weight", (4, 2), torch.float32, NORMAL)
        assert torch.equal(values["experts.up"][expert], stacked)
        assert torch.equal(values["bank.fc.weight"][expert], listed)


@pytest.mark.parametrize("experts", [False, True])
def test_each_block_of_a_dim_is_shared_out(ranks, experts: bool) -> None:
    def local() -> torch.Tensor:
        mesh = Topology.build({"tp": 2}).mesh
        shape = (EXPERTS, 12, 5) if experts else (12, 5)
        placements = {"fused": Placement(shape, {"tp": (int(experts), 3)}, init=NORMAL, experts=experts)}
        (fused,) = place_parameters(holder(placements, mesh), placements, mesh, SINGLE)
        initialize([fused], seed=7)
        return fused.tensor.detach()

    for rank, found in enumerate(ranks(2, local)):
        keys = range(EXPERTS) if experts else [None]
        for row, key in enumerate(keys):
            blocks = draw(7, "fused", (12, 5), torch.float32, NORMAL, key).chunk(3)
            expected = torch.cat([block.chunk(2)[rank] for block in blocks])
            assert torch.equal(found[row] if experts else found, expected)


def test_seed_name_and_expert_each_make_another_draw() -> None:
    draws = [
        draw(seed, name, (4, 4), torch.float32, NORMAL, expert)
        for seed in (0, 1)
        for name in ("a", "b")
        for expert in (None, 0, 1)
    ]
    assert len({tuple(value.flatten().tolist()) for value in draws}) == len(draws)


def test_a_draw_repeats_and_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    first = draw(3, "w", (5,), torch.float32, NORMAL)
    assert torch.equal(first, draw(3, "w", (5,), torch.float32, NORMAL))
    assert torch.equal(state, torch.get_rng_state())


def test_float64_begins_with_the_float32_numbers() -> None:
    single, double = (draw(3, "w", (100,), dtype, NORMAL) for dtype in (torch.float32, torch.float64))
    assert double.dtype == torch.float64
    assert torch.equal(single.double(), double)


def test_recipes_do_what_torch_does() -> None:
    def value(*recipe: tuple[str | float, ...], shape: tuple[int, ...] = (64, 32)) -> torch.Tensor:
        return draw(0, "w", shape, torch.float32, recipe)

    uniform = value(("uniform_", -0.5, 0.25))
    assert -0.5 <= uniform.min() < -0.49
    assert 0.24 < uniform.max() <= 0.25
    assert torch.equal(value(("zero_",), ("add_", 2.0), ("mul_", 3.0)), torch.full((64, 32), 6.0))
    assert torch.equal(value(("fill_", 5.0), ("clamp_", -1.0, 1.0)), torch.ones(64, 32))
    assert value(("trunc_normal_", 0.0, 1.0, -0.5, 0.5)).abs().max() <= 0.5
    columns = value(("orthogonal_", 2.0))
    assert torch.allclose(columns.T @ columns, 4 * torch.eye(32), atol=1e-5)  # float32 rounding of 64 terms
    padded = value(("normal_", 0.0, 1.0), ("row_zero", 3))
    assert (padded.abs().sum(1) == 0).nonzero().flatten().tolist() == [3]


def test_a_copy_begins_with_the_numbers_of_another() -> None:
    first, copy = draw(3, "a", (8, 4), torch.float32, NORMAL), drawn_as("a", NORMAL)
    assert torch.equal(draw(3, "b", (8, 4), torch.float32, copy), first)
    assert not torch.equal(draw(3, "b", (8, 4), torch.float32, NORMAL), first)
    assert torch.equal(draw(3, "b", (8, 4), torch.float32, scaled(copy, 2.0)), 2 * first)


def test_stored_values_are_read_expert_by_expert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"scale": torch.tensor(0.5, dtype=torch.float64), "up": torch.rand(3, 4, 2).bfloat16()}
    file = tmp_path / "values.safetensors"
    file.write_bytes(format_file(values))
    monkeypatch.setattr(init, "open_stored_values", lambda: StoredValues(file))
    assert torch.equal(draw(1, "scale", (), torch.float64, stored()), values["scale"])
    second = draw(1, "up", (4, 2), torch.float32, stored(), expert=1)
    assert torch.equal(second, values["up"][1].float())


def test_what_is_no_recipe_is_refused() -> None:
    with pytest.raises(ValueError, match=r"layer\.w: unknown initial value 'backward'"):
        draw(0, "layer.w", (2,), torch.float32, (("backward",),))
