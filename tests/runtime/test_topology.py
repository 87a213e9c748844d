"""Where each rank stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch.distributed as dist

from parc.runtime.topology import Topology


def places(axes: dict[str, int], data: Sequence[str] = (), pipeline: str | None = None) -> tuple[Any, ...]:
    topology = Topology.build(axes, data=data, pipeline=pipeline)
    (stage,) = topology.stages
    return stage, topology.stage_count, topology.last, topology.data_rank, topology.data_ranks


def test_the_last_axis_is_the_fastest_and_each_axis_tells_its_part(ranks) -> None:
    found = ranks(8, places, {"dp": 2, "pp": 2, "tp": 2}, ["dp"], "pp")
    assert found == [(pp, 2, pp == 1, dp, 2) for dp in (0, 1) for pp in (0, 1) for _tp in (0, 1)]


def test_data_over_several_axes_counts_the_outer_one_slowest_however_they_are_named(ranks) -> None:
    found = ranks(8, places, {"dp": 2, "tp": 2, "ep": 2}, ["ep", "dp"])
    assert found == [(0, 1, True, 2 * dp + ep, 4) for dp in (0, 1) for _tp in (0, 1) for ep in (0, 1)]


def test_the_mesh_of_a_stage_has_all_axes_but_the_pipelines(ranks) -> None:
    def mesh() -> tuple[Any, ...]:
        topology = Topology.build({"dp": 2, "pp": 2, "tp": 1}, pipeline="pp")
        return topology.mesh.mesh_dim_names, topology.mesh.mesh.flatten().tolist()

    found = ranks(4, mesh)
    assert found == [(("dp", "tp"), [stage, 2 + stage]) for _dp in (0, 1) for stage in (0, 1)]


def test_a_group_over_several_axes_has_the_order_of_the_mesh(ranks) -> None:
    def members() -> tuple[list[int], int]:
        axes = {"dp": 2, "tp": 2, "ep": 2}
        topology = Topology.build(axes, groups={"dp_ep": ("dp", "ep")})
        group = topology.mesh.get_group("dp_ep")
        return dist.get_process_group_ranks(group), group.rank()

    found = ranks(8, members)
    for tp in (0, 1):
        held = [4 * dp + 2 * tp + ep for dp in (0, 1) for ep in (0, 1)]
        assert [found[rank] for rank in held] == [(held, place) for place in range(4)]


def test_stages_may_lie_over_several_axes(ranks) -> None:
    def place() -> tuple[tuple[int, ...], tuple[str, ...] | None, bool]:
        axes = {"pa": 2, "dp": 1, "pb": 2}
        topology = Topology.build(axes, groups={"pa_pb": ("pa", "pb")}, pipeline="pa_pb")
        return topology.stages, topology.mesh.mesh_dim_names, topology.last

    assert ranks(4, place) == [((stage,), ("dp",), stage == 3) for stage in range(4)]


def test_there_is_a_mesh_also_where_no_axis_is_left(ranks) -> None:
    assert ranks(1, places, {}) == [(0, 1, True, 0, 1)]
    assert ranks(2, places, {"pp": 2}, [], "pp") == [(0, 2, False, 0, 1), (1, 2, True, 0, 1)]


@pytest.mark.parametrize(
    ("v_shaped", "expected"),
    [
        (False, [((0, 2, 4), False), ((1, 3, 5), True)]),
        (True, [((0, 3), True), ((1, 2), False)]),
    ],
)
def test_stages_go_round_the_ranks_or_down_and_back_up(ranks, v_shaped, expected) -> None:
    def stages() -> tuple[Any, ...]:
        chunks = 2 if v_shaped else 3
        topology = Topology.build({"pp": 2}, pipeline="pp", chunks=chunks, v_shaped=v_shaped)
        assert topology.last == (topology.pipeline.rank() == topology.loss_rank)
        return topology.stages, topology.last

    assert ranks(2, stages) == expected
