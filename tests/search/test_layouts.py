"""Layouts that a first plan is chosen from."""

from __future__ import annotations

import pytest

from parc.search.layouts import list_layouts

SHAPE = {"layers": 6, "hidden": 64, "heads": 8, "kv_heads": 4, "ffn": 48, "vocab": 96, "experts": 10}


@pytest.mark.parametrize("devices", [1, 6, 8, 24, 60])
def test_everything_divides(devices: int) -> None:
    found = list(list_layouts(SHAPE, devices, node=8, sequences=240, length=32))

    assert found
    assert len(set(found)) == len(found)
    for each in found:
        assert each.pp * each.dp * each.ep * each.tp == devices
        assert each.pp <= 6
        assert 10 % each.ep == 0
        assert all(size % each.tp == 0 for size in (4, 8, 48, 96, 64, 32))
        assert each.tp <= 8
        assert 240 % (each.dp * each.ep * each.microbatches) == 0


def test_tensors_stay_within_a_node() -> None:
    assert {each.tp for each in list_layouts(SHAPE, 8, node=2, sequences=240, length=32)} == {1, 2}


def test_a_pipeline_has_microbatches_for_its_stages() -> None:
    found = [each for each in list_layouts(SHAPE, 6, node=8, sequences=240, length=32) if each.pp > 1]

    assert found
    assert all(2 * each.pp <= each.microbatches <= 16 * each.pp for each in found)


def test_more_data_ranks_than_sequences_is_no_layout() -> None:
    assert not [
        each for each in list_layouts(SHAPE, 8, node=8, sequences=2, length=32) if each.dp * each.ep > 2
    ]
