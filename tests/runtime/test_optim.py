"""The learning rate of each step."""

from __future__ import annotations

import math

import pytest

from parc.runtime.optim import AdamWSettings


def rates(**settings: object) -> list[float]:
    chosen: dict = {"lr": 1.0, "steps": 8} | settings
    return [AdamWSettings(**chosen).learning_rate(step) for step in range(8)]


def test_constant_unless_told_otherwise() -> None:
    assert rates() == [1.0] * 8


def test_a_line_up_to_the_rate() -> None:
    assert rates(warmup=4) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0]


def test_a_cosine_from_the_end_of_the_warm_up_to_the_last_step() -> None:
    half = [(1 + math.cos(math.pi * done / 6)) / 2 for done in range(6)]
    expected = [0.5, 1.0] + [0.2 + 0.8 * share for share in half]
    assert rates(warmup=2, decay="cosine", min_lr=0.2) == pytest.approx(expected, rel=1e-15)


def test_the_cosine_stays_at_its_end() -> None:
    settings = AdamWSettings(lr=1.0, steps=4, decay="cosine", min_lr=0.1)
    assert settings.learning_rate(4) == settings.learning_rate(400) == pytest.approx(0.1)


def test_a_run_that_is_all_warm_up() -> None:
    assert rates(warmup=8, decay="cosine") == [(step + 1) / 8 for step in range(8)]
