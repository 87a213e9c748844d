"""The table of placements: every parameter has one entry that fits it, and each rank holds its part."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import nn

from parc.runtime.placement import Placement, declare_placements, matches, place_parameters
from parc.runtime.topology import Topology
from tests.runtime.toy import SINGLE

ZERO = (("zero_",),)
Facts = tuple[tuple[str, ...], list[int], list[int]]


class Holder(nn.Module):
    """One layer, number 3, with a weight of a local shape."""

    def __init__(self, *local: int) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({"3": nn.Module()})
        self.layers["3"].weight = nn.Parameter(torch.zeros(local))


def test_shares_are_dealt_out_by_the_outer_axis_first(ranks) -> None:
    def place(sharded: Mapping[str, int | tuple[int, int]], *local: int) -> Facts:
        table = {"layers.*.weight": Placement((8, 6), sharded, init=ZERO)}
        (found,) = place_parameters(Holder(*local), table, Topology.build({"ep": 2, "tp": 2}).mesh, SINGLE)
        whole = torch.arange(8 * 6).view(8, 6)
        return found.sharded_axes, list(found.rows), found.select_share(whole).flatten().tolist()

    whole = torch.arange(8 * 6).view(8, 6)
    for rank, (axes, rows, share) in enumerate(ranks(4, place, {"tp": 1, "ep": 0}, 4, 3)):
        ep, tp = divmod(rank, 2)
        assert (axes, rows) == (("ep", "tp"), list(range(ep * 4, ep * 4 + 4)))
        assert share == whole.chunk(2)[ep].chunk(2, 1)[tp].flatten().tolist()
    for rank, (_, rows, share) in enumerate(ranks(4, place, {"tp": 0, "ep": 0}, 2, 6)):
        assert rows == [2 * rank, 2 * rank + 1]
        assert share == whole.chunk(4)[rank].flatten().tolist()
    for rank, (_, _, share) in enumerate(ranks(4, place, {"tp": (0, 2)}, 4, 6)):
        blocks = [block.chunk(2)[rank % 2] for block in whole.chunk(2)]
        assert share == torch.cat(blocks).flatten().tolist()


WEIGHT = "layers.*.weight"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "parameter layers.3.weight has no placement"),
        (
            dict.fromkeys((WEIGHT, "layers.3.weight"), Placement((4, 2), init=ZERO)),
            "parameter layers.3.weight has 2 placements: layers.*.weight, layers.3.weight",
        ),
        (
            {WEIGHT: Placement((4, 2), {"tp": 0}, init=ZERO)},
            "parameter layers.3.weight is (4, 2) on this rank; (4, 2) over {'tp': 0} leaves (2, 2) to each",
        ),
        (
            {WEIGHT: Placement((5, 4), {"tp": 0}, init=ZERO)},
            "layers.*.weight: dim 0 of (5, 4) does not divide over the 2 ranks of axis 'tp'",
        ),
        (
            {WEIGHT: Placement((5, 4), {"tp": (1, 4)}, init=ZERO)},
            "layers.*.weight: dim 1 of (5, 4), in 4 blocks, does not divide over the 2 ranks of axis 'tp'",
        ),
        (
            {WEIGHT: Placement((4, 2), {"ep": 0}, init=ZERO)},
            "layers.*.weight: no axis 'ep' in the mesh ('tp',)",
        ),
        (
            {WEIGHT: Placement((4, 2), init=ZERO, reduce=("dp",))},
            "layers.*.weight: no axis 'dp' in the mesh ('tp',)",
        ),
    ],
)
def test_a_table_that_does_not_fit_is_refused(ranks, table: Mapping[str, Placement], message: str) -> None:
    def place() -> str:
        mesh = Topology.build({"tp": 2}).mesh
        try:
            place_parameters(Holder(4, 2), table, mesh, SINGLE)
        except ValueError as error:
            return str(error)
        return ""

    assert ranks(2, place) == [message] * 2


@pytest.mark.parametrize(
    ("key", "name", "expected"),
    [
        ("norm.weight", "norm.weight", True),
        ("norm.weight", "norm.bias", False),
        ("norm", "norm.weight", False),
        ("layers.*.weight", "layers.12.weight", True),
        ("layers.*.weight", "layers.norm.weight", False),
        ("layers.0-2,5.weight", "layers.2.weight", True),
        ("layers.0-2,5.weight", "layers.5.weight", True),
        ("layers.0-2,5.weight", "layers.3.weight", False),
        ("net.2.weight", "net.2.weight", True),
        ("net.2.weight", "net.12.weight", False),
    ],
)
def test_a_key_stands_for_the_paths_with_its_numbers(key: str, name: str, expected: bool) -> None:
    assert matches(key, name) == expected


def test_children_of_a_list_keep_their_names(ranks) -> None:
    def names() -> list[tuple[str, ...]]:
        sliced = Placement((2, 2), init=ZERO, experts=True)
        listed = Placement((2, 2), init=ZERO, stack="layers.*")
        mesh = Topology.build({}).mesh
        tables = ({"layers.*.weight": each} for each in (sliced, listed))
        return [place_parameters(Holder(2, 2), table, mesh, SINGLE)[0].user_names for table in tables]

    (found,) = ranks(1, names)
    assert found == [("layers.3.weight",), ("layers.3.0.weight", "layers.3.1.weight")]


def test_gradients_are_summed_over_the_axes_of_the_table_that_do_not_shard_the_parameter() -> None:
    table = declare_placements(
        reduce=("dp", "ep"),
        parameters={
            "norm": Placement((4,), init=ZERO),
            "bank": Placement((4, 2), {"ep": 0}, init=ZERO),
            "own": Placement((4,), init=ZERO, reduce=("dp",)),
            "none": Placement((4,), init=ZERO, reduce=()),
        },
    )
    found = {name: placement.reduce for name, placement in table.items()}
    assert found == {"norm": ("dp", "ep"), "bank": ("dp",), "own": ("dp",), "none": ()}
