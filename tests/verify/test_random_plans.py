"""Any legal plan of up to 16 ranks computes what one device computes: 72 of the plans of `benchmarks/`."""

from __future__ import annotations

import pytest
import random_plans

from parc.check.load import load_text
from parc.shard.compile import rewrite
from parc.shard.load import Faulty
from parc.source import Source

from .plans import EXAMPLES, MODELS, captured

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


def test_experts_that_ranks_cannot_share_are_refused_where_the_plan_does_not_count_them() -> None:
    """A random plan has found it: the program ended in a ValueError as it started."""
    stated = "ffn = 24, experts = 4, top_k = 1, vocab = 32 }"
    assert MODELS.count(stated) == 1
    text = (
        MODELS.replace(stated, "ffn = 24 }")
        + """
        cluster c { levels = [node: 8] }
        plan p for classic_run on c {
          mesh = [ep: 8]
          data    over [ep]
          experts over [ep]
        }
        """
    )
    found = load_text(Source(str(EXAMPLES / "of-a-test.parc"), text))
    assert not found.diagnostics
    with pytest.raises(Faulty) as refused:
        rewrite(found.plans[0], captured("classic"))
    (fault,) = refused.value.diagnostics
    assert fault.code == "P507"
    assert fault.message == "4 experts a layer cannot be shared evenly by the 8 ranks along `ep`"
    assert fault.help == "4 experts divide over 1, 2, 4 ranks"
