"""Which drawn values are of another kind than the constructor's, as far as chance allows."""

from __future__ import annotations

import torch
from torch import Tensor

from parc.verify.validation.initial_values import find_other_values

DRAWS = 2


def draw(rows: int, columns: int, seed: int) -> Tensor:
    """Several draws of a parameter: (draws, rows, columns)."""
    return torch.randn(DRAWS, rows, columns, generator=torch.Generator().manual_seed(seed))


def compare(given: Tensor, drawn: Tensor) -> list[str]:
    return [what for _, what in find_other_values({"w": given}, {"w": drawn}, set(), set())]


def test_two_draws_of_one_kind_are_alike() -> None:
    assert compare(draw(8, 40, 1), draw(8, 40, 2)) == []


def test_a_zero_by_chance_is_no_difference() -> None:
    """One of some 2^24 random numbers becomes 0, so that large parameters have some in every other draw."""
    given = draw(8, 40, 1)
    given[0, 3, 7] = 0
    assert compare(given, draw(8, 40, 2)) == []


def test_a_row_that_is_set_to_zero_is_one() -> None:
    given = draw(8, 40, 1)
    given[:, 5] = 0
    assert compare(given, draw(8, 40, 2)) == ["has 80 zeros, and other ones (0) as it is drawn"]
    assert compare(given, given.roll(1, dims=1)) == ["has 80 zeros, and other ones (80) as it is drawn"]


def test_one_entry_that_is_set_to_zero_is_one() -> None:
    given = draw(8, 40, 1)
    given[:, 5, 2] = 0
    assert compare(given, draw(8, 40, 2)) == ["has 2 zeros, and other ones (0) as it is drawn"]


def test_zeros_at_random_places_are_one() -> None:
    given = draw(8, 40, 1)
    given *= torch.rand(given.shape, generator=torch.Generator().manual_seed(3)) > 0.1
    (found,) = compare(given, draw(8, 40, 2))
    assert found.endswith("zeros, and other ones (0) as it is drawn")
