"""Any legal plan of up to 16 ranks computes what one device computes: 72 of the plans of `benchmarks/`."""

from __future__ import annotations

import pytest
import random_plans

PLANS = 12  # of one training run


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("model", random_plans.MODELS)
@pytest.mark.parametrize("number", range(3))
def test_random_plans_change_nothing_that_is_computed(model: str, number: int) -> None:
    results = random_plans.run(1, model, number, PLANS)
    assert len(results) == PLANS
    assert len({result.text for result in results}) == PLANS
    wrong = [result for result in results if not result.error < random_plans.TOLERANCE]
    assert not wrong, wrong
