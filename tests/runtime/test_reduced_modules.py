"""Gradients that each backward pass reduces: a rank keeps its slices, and no more of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from parc.runtime.gradients import Gradients
from parc.runtime.placement import PlacedParameter, Placement, place_parameters
from parc.runtime.recompute import recompute
from parc.runtime.sharded_modules import ShardedModules
from parc.runtime.topology import Topology
from tests.runtime.toy import DOUBLE

WIDTH, RANKS, MICROBATCHES = 3, 2, 2


class Stage(nn.Module):
    """A scale, and two layers."""

    def __init__(self, again: bool) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.again = again
        self.scale = nn.Parameter(torch.ones(WIDTH, dtype=torch.float64))
        self.layers = nn.ModuleDict({"0": nn.Linear(WIDTH, WIDTH), "1": nn.Linear(WIDTH, WIDTH)}).double()
        for parameter in self.layers.parameters():
            nn.init.normal_(parameter, generator=generator)

    def forward(self, x: Tensor, scaled: bool = True, early: bool = False) -> Tensor:
        x = x * self.scale if scaled else x
        x = x * self.layers["0"].weight.sum() if early else x
        for layer in self.layers.values():
            x = (recompute(layer, x) if self.again else layer(x)).tanh()
        return x.sum()


def draw_batch(rank: int, microbatch: int) -> Tensor:
    generator = torch.Generator().manual_seed(10 * rank + microbatch)
    return torch.randn(4, WIDTH, dtype=torch.float64, generator=generator)


def place(again: bool) -> tuple[Stage, list[PlacedParameter], Gradients]:
    topology, stage = Topology.build({"dp": RANKS}), Stage(again)
    table = {
        name: Placement(tuple(parameter.shape), init=(), reduce=("dp",))
        for name, parameter in stage.named_parameters()
    }
    parameters = list(place_parameters(stage, table, topology.mesh, DOUBLE, ("dp",)))
    ShardedModules([stage], ["layers.*"], parameters, topology.mesh)
    return stage, parameters, Gradients(parameters, topology.mesh)


@pytest.mark.parametrize("again", [False, True])
def test_a_rank_keeps_the_sums_of_its_slices(ranks, again: bool) -> None:
    def run() -> dict[str, tuple[Tensor, int, int, bool]]:
        stage, parameters, gradients = place(again)
        for microbatch in range(MICROBATCHES):
            stage(draw_batch(torch.distributed.get_rank(), microbatch)).backward()
            assert all(each.tensor.grad is None for each in parameters)
        gradients.complete()
        return {
            each.name: (each.gradient.clone(), own.start, own.stop, each.tensor.grad is None)
            for each in parameters
            if each.slice and (own := each.slice.elements)
        }

    whole = Stage(again=False)
    for rank in range(RANKS):
        for microbatch in range(MICROBATCHES):
            whole(draw_batch(rank, microbatch)).backward()
    for found in ranks(RANKS, run):
        for name, parameter in whole.named_parameters():
            own, start, stop, freed = found[name]
            assert parameter.grad is not None
            expected = parameter.grad.flatten()[start:stop]
            torch.testing.assert_close(own, expected, rtol=1e-12, atol=1e-12)  # float64, sums of 16 terms
            assert freed


def test_a_layer_without_inputs_that_have_gradients_ends_with_the_stage(ranks) -> None:
    def run() -> Tensor:
        stage, parameters, gradients = place(again=False)
        stage(draw_batch(0, 0), scaled=False).backward()
        gradients.complete()
        return next(each.gradient for each in parameters if each.name == "layers.0.weight")

    whole = Stage(again=False)
    whole(draw_batch(0, 0), scaled=False).backward()
    found = torch.cat(ranks(RANKS, run))
    torch.testing.assert_close(found, RANKS * whole.layers["0"].weight.grad.flatten(), rtol=1e-12, atol=1e-12)


def test_a_parameter_that_is_read_before_its_layer_is_an_error(ranks) -> None:
    def run() -> str:
        stage, _, gradients = place(again=False)
        stage(draw_batch(0, 0), early=True).backward()
        with pytest.raises(RuntimeError) as raised:
            gradients.complete()
        return str(raised.value)

    assert set(ranks(RANKS, run)) == {"no backward pass has reduced the gradient of layers.0.weight"}
