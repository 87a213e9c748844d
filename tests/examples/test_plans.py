"""The example plans, as parc reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

import parc
from parc.diagnostic import Severity
from parc.plan.blocks import Plan

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(set(EXAMPLES.glob("*.parc")) - {EXAMPLES / "seed-claims.parc"})  # which is full of faults


def the_plan(name: str) -> Plan:
    (plan,) = parc.load(EXAMPLES / name).plans
    return plan


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_nothing_is_to_be_said_against_it(file: Path) -> None:
    """Of the seed it is told, not held against it, that its experts are exchanged across all nodes: another
    order of the axes would shorten that by 40%, but a step of this small model by less than 1%."""
    loaded = parc.load(file)
    assert [each.code for each in loaded.diagnostics] == (["P325"] if file.stem == "seed" else [])
    assert all(each.severity is Severity.INFO for each in loaded.diagnostics)
    assert loaded.plans


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_uses_every_device_of_its_cluster(file: Path) -> None:
    for plan in parc.load(file).plans:
        assert plan.mesh.size == plan.cluster.devices


def test_the_quickstart_runs_on_eight_processes() -> None:
    plan = the_plan("quickstart.parc")
    assert [(axis.name, axis.size) for axis in plan.mesh.axes] == [("ep", 2), ("pp", 2), ("tp", 2)]
    assert plan.data is not None
    assert plan.data.axes == ("ep",)


def test_an_expert_block_of_the_seed_is_a_node_and_its_all_to_all_crosses_all_nodes() -> None:
    mesh = the_plan("seed.parc").mesh
    node = 16
    assert {mesh.coordinates(rank)["ep"] for rank in range(node)} == {0}
    assert [rank // node for rank in mesh.group(5, ["ep"])] == list(range(8))
    assert list(mesh.group(5, ["pp"])) == [1, 5, 9, 13]
    assert list(mesh.group(5, ["tp"])) == [4, 5, 6, 7]


def test_the_seed_is_the_papers_model() -> None:
    """6.58 billion parameters: 16 layers of attention, router and 64 gated experts, two embedding tables."""
    shape = the_plan("seed.parc").train.model.shape
    assert shape.layers == 16
    assert shape.hidden is not None
    assert shape.ffn is not None
    assert shape.experts is not None
    assert shape.vocab is not None
    attention = 4 * shape.hidden**2
    experts = shape.experts * 3 * shape.hidden * shape.ffn
    router_and_norms = shape.hidden * shape.experts + 2 * shape.hidden
    tables = 2 * shape.vocab * shape.hidden + shape.hidden
    total = shape.layers * (attention + experts + router_and_norms) + tables
    assert total == pytest.approx(6.58e9, rel=1e-3)


def test_all_layouts_of_the_classic_are_of_one_training_run() -> None:
    plans = parc.load(EXAMPLES / "classic.parc").plans
    assert len({plan.train.name for plan in plans}) == 1
    assert len(plans) == 7
