"""Any legal plan computes what one device computes: plans that are drawn as those of `benchmarks/` are."""

from __future__ import annotations

import pytest
import random_plans
import validations

from parc.check.load import load_text
from parc.diagnostic import CompileError
from parc.source import Source

from .plans import EXAMPLES, MODELS, captured, compile_program


@pytest.mark.timeout(600)
@pytest.mark.parametrize("model", random_plans.MODELS)
@pytest.mark.parametrize(
    ("number", "plans"),
    [(0, 5), *(pytest.param(number, 15, marks=pytest.mark.slow) for number in (0, 1))],
)
def test_random_plans_change_nothing_that_is_computed(model: str, number: int, plans: int) -> None:
    """60 of them, on up to 8 ranks; ten are among the quick tests."""
    assert_nothing_differs(random_plans.run(1, model, number, plans, most=8), plans)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("model", random_plans.MODELS)
@pytest.mark.parametrize("number", range(2, 5))
def test_nor_do_those_of_up_to_16_ranks(model: str, number: int) -> None:
    """72 more: a plan of 8 ranks takes three times as long as one of 4."""
    assert_nothing_differs(random_plans.run(1, model, number, 12), 12)


def assert_nothing_differs(results: list[random_plans.Result], plans: int) -> None:
    assert len({result.text for result in results}) == len(results) == plans
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
    with pytest.raises(CompileError) as refused:
        compile_program(found.plans[0], captured("classic"))
    (fault,) = refused.value.diagnostics
    assert fault.code == "P507"
    assert fault.message == "4 experts a layer cannot be shared evenly by the 8 ranks along `ep`"
    assert fault.help == "4 experts divide over 1, 2, 4 ranks"


@pytest.mark.slow
@pytest.mark.parametrize("model", random_plans.MODELS)
@pytest.mark.parametrize("number", range(5, 8))
def test_the_validation_reports_none_of_them(model: str, number: int) -> None:
    for result in validations.run(1, model, number, 10):
        assert not result.reported, result
        assert result.difference is not None
