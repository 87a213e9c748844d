"""A model that casts to float32 of its own accord is compared in float64 all the same."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor

from parc.capture import capture as compiling
from parc.capture.model.promotion import promote_casts
from parc.verify.numbers import reference
from parc.verify.numbers.rung import describe_casts
from parc.verify.sample.sample import Precision, set_precision

from .test_odd_models import ALL, TENSOR, odd, use_of_bound


@pytest.mark.parametrize(("layout", "ranks"), [(TENSOR, 2), (ALL, 8)])
def test_norms_and_routers_in_float32_agree_as_closely_as_all_else(
    layout: str, ranks: int, tmp_path: Path
) -> None:
    assert use_of_bound(odd(layout, ranks, casts=True), tmp_path / "program") < 1


def test_without_promotion_they_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (compiling, reference):
        monkeypatch.setattr(module, "promote_casts", lambda _: nullcontext(set()))
    assert use_of_bound(odd(TENSOR, 2, casts=True), tmp_path / "program") > 1


MAKES = {
    "cast": lambda x: x.float(),
    "cast to half": lambda x: x.bfloat16(),
    "to": lambda x: x.to(torch.float32),
    "to, by keyword": lambda x: x.to(dtype=torch.float16),
    "type": lambda x: x.type(torch.float32),
    "softmax": lambda x: x.softmax(-1, dtype=torch.float32),
    "sum of whole numbers": lambda x: (x > 0).sum(dtype=torch.float32),
    "of the default type": lambda x: torch.ones(3),
    "of a stated type": lambda x: x.new_zeros(3, dtype=torch.float32),
    "whole numbers divided": lambda x: torch.arange(3) / 7,
}


@pytest.mark.parametrize("what", MAKES)
def test_nothing_is_made_in_less_than_float64(what: str) -> None:
    x = torch.linspace(-1, 1, 5, dtype=torch.float64)
    with promote_casts(torch.float64):
        assert MAKES[what](x).dtype == torch.float64


def test_what_is_cast_loses_nothing() -> None:
    third = torch.tensor(1 / 3, dtype=torch.float64)
    with promote_casts(torch.float64):
        assert all(MAKES[cast](third) == third for cast in MAKES if cast.startswith(("cast", "to", "type")))


def test_whole_numbers_bits_and_tensors_changed_in_place_stay_what_they_are() -> None:
    held: Tensor = torch.zeros(3, dtype=torch.float32)
    with promote_casts(torch.float64):
        assert torch.arange(3).dtype == torch.int64
        assert torch.arange(3).to(torch.int32).view(torch.float32).dtype == torch.float64
        assert held.add_(1) is held
    assert held.dtype == torch.float32


@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("what", MAKES)
def test_runs_in_other_types_are_left_as_they_are(what: str, compute: torch.dtype) -> None:
    x = torch.linspace(-1, 1, 5).to(compute)
    wanted = MAKES[what](x).dtype
    with promote_casts(compute):
        assert MAKES[what](x).dtype == wanted


@pytest.mark.parametrize(("compute", "expected"), [("fp64", [39, 41, 53]), ("fp32", [])])
def test_the_lines_with_casts_are_known_and_reported(compute: Precision, expected: list[int]) -> None:
    (plan,) = odd(TENSOR, 2, casts=True).plans
    lines = compiling.capture(set_precision(plan, compute)).promoted
    assert [line.number for line in lines] == expected
    listed = ", ".join(f"odd.py:{number}" for number in expected)
    assert [listed in each for each in describe_casts(lines)] == [True] * bool(expected)
