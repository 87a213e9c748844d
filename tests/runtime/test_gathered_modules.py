"""Parameters that are gathered for each pass: between passes a rank holds its slices alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from parc.runtime.gradients import Gradients
from parc.runtime.placement import PlacedParameter, Placement, Precision, place_parameters
from parc.runtime.recompute import recompute
from parc.runtime.sharded_modules import ShardedModules
from parc.runtime.topology import Topology
from tests.runtime.toy import DOUBLE

WIDTH, SYMBOLS, RANKS, MICROBATCHES = 3, 5, 2, 2
MODULES = ("table", "layers.*", "head")
OWN = re.compile(r"layers\.\d\.scale")
MIXED = Precision(master=torch.float32, gradients=torch.float32)


class Layer(nn.Module):
    """A matrix that ranks share, and a scale whose gradient is no sum over them; returns a pair."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.product = nn.Linear(WIDTH, WIDTH, dtype=dtype)
        self.scale = nn.Parameter(torch.ones(WIDTH, dtype=dtype))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.product(x * self.scale).tanh()
        return x, x.square().mean()


class Stage(nn.Module):
    """An embedding, two layers and a head, and a scale of its own that it reads twice."""

    def __init__(self, again: bool, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.again = again
        self.scale = nn.Parameter(torch.ones(WIDTH, dtype=dtype))
        self.table = nn.Embedding(SYMBOLS, WIDTH, dtype=dtype)
        self.layers = nn.ModuleDict({"0": Layer(dtype), "1": Layer(dtype)})
        self.head = nn.Linear(WIDTH, SYMBOLS, dtype=dtype)
        for parameter in self.parameters():
            nn.init.normal_(parameter, generator=generator)

    def forward(self, tokens: Tensor) -> Tensor:
        x, total = self.table(tokens) * self.scale, self.scale.new_zeros(())
        for layer in self.layers.values():
            x, more = recompute(layer, x) if self.again else layer(x)
            total = total + more
        return self.head(x * self.scale).square().mean() + total


def draw_batch(rank: int, microbatch: int) -> Tensor:
    generator = torch.Generator().manual_seed(10 * rank + microbatch)
    return torch.randint(SYMBOLS, (4,), generator=generator)


class Placed:
    """A stage with its own values, which is gathered over `dp`, but for the scales of its layers."""

    def __init__(self, again: bool, dtype: torch.dtype, precision: Precision) -> None:
        topology, self.whole = Topology.build({"dp": RANKS}), Stage(again, dtype)
        with torch.device("meta"):
            self.stage = Stage(again, dtype)
        table = {
            name: Placement(
                tuple(each.shape), init=(), reduce=() if name[0] == "l" and "sc" in name else ("dp",)
            )
            for name, each in self.stage.named_parameters()
        }
        self.parameters: list[PlacedParameter] = list(
            place_parameters(self.stage, table, topology.mesh, precision, ("dp",), gather=True)
        )
        for parameter in self.parameters:
            parameter.set_elements(self.whole.get_parameter(parameter.name).detach())
        ShardedModules([self.stage], MODULES, self.parameters, topology.mesh)
        self.gradients = Gradients(self.parameters, topology.mesh)

    def count_bytes(self) -> int:
        """Of the tensors that modules compute with."""
        return sum(each.tensor.untyped_storage().nbytes() for each in self.parameters)


@contextmanager
def counted_gathers() -> Iterator[list[torch.dtype]]:
    """The types of what is gathered, one after the other."""
    found, gather = [], dist.all_gather_single

    def count(whole: Tensor, own: Tensor, **more: object) -> object:
        found.append(own.dtype)
        return gather(whole, own, **more)

    dist.all_gather_single = count
    try:
        yield found
    finally:
        dist.all_gather_single = gather


@pytest.mark.parametrize("again", [False, True])
def test_gradients_are_those_of_whole_parameters(ranks: Callable[..., list], again: bool) -> None:
    def run() -> tuple[dict[str, tuple[Tensor, list[int] | None]], list[int], int]:
        placed, held = Placed(again, torch.float64, DOUBLE), list[int]()
        with counted_gathers() as gathers:
            for microbatch in range(MICROBATCHES):
                result = placed.stage(draw_batch(dist.get_rank(), microbatch))
                held.append(placed.count_bytes())
                result.backward()
                held.append(placed.count_bytes())
        placed.gradients.complete()
        slices = {each.name: each.slice and list(each.slice.elements) for each in placed.parameters}
        own = {each.name: (each.gradient.clone(), slices[each.name]) for each in placed.parameters}
        return own, held, len(gathers)

    whole = [Stage(again=False) for _ in range(RANKS)]
    for rank, stage in enumerate(whole):
        for microbatch in range(MICROBATCHES):
            stage(draw_batch(rank, microbatch)).backward()
    for rank, (found, held, gathers) in enumerate(ranks(RANKS, run)):
        assert gathers == (2 * 4 + 1) * MICROBATCHES  # for either pass, but the embedding for one
        assert set(held) == {2 * WIDTH * 8}  # the scales, which are their own masters
        for name, (own, elements) in found.items():
            terms = [stage.get_parameter(name).grad for stage in whole]
            expected = terms[rank] if elements is None else (terms[0] + terms[1]).flatten()[elements]
            torch.testing.assert_close(own, expected, rtol=1e-12, atol=1e-12)  # float64, sums of 16 terms


def test_masters_are_rounded_for_each_pass(ranks: Callable[..., list]) -> None:
    """Also those that no ranks share: of the tensors in bfloat16 nothing is kept."""

    def run() -> tuple[list[int], bool, bool]:
        placed, batch = Placed(False, torch.bfloat16, MIXED), draw_batch(0, 0)
        with counted_gathers() as gathers:
            result = placed.stage(batch)
            held = [placed.count_bytes()]
            result.backward()
            held.append(placed.count_bytes())
        kept = all(each.master.dtype == torch.float32 for each in placed.parameters)
        return held, kept and set(gathers) == {torch.bfloat16}, torch.equal(result, placed.whole(batch))

    for held, types, equal in ranks(RANKS, run):
        assert held == [0, 0]
        assert types
        assert equal
