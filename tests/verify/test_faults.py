"""Builds that a fault of the compiler has made wrong are refused; `benchmarks/faults.py` has hundreds."""

from __future__ import annotations

import faults as benchmark
import pytest
from fault_kinds.registry import KINDS, Baseline, list_faults

SMALL = "tests/plans/run/experts-inside-data.parc", "moe"
CHECKED = (  # kinds that no other test injects, of each pass
    "an operator is taken for another",
    "a gradient is cut off",
    "an initial value is another",
    "a partial sum is taken for the whole",
    "a gradient is summed over other axes",
    "a parameter begins otherwise",
    "experts are drawn otherwise",
    "a buffer is not updated",
    "a loss is summed over other axes",
    "another operator is printed",
    "a placement is printed otherwise",
    "the topology is another",
)


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    return benchmark.compile_baseline(benchmark.read_plan(*SMALL))


@pytest.mark.parametrize("kind", CHECKED)
def test_a_fault_of_the_compiler_is_found(kind: str, baseline: Baseline) -> None:
    fault = list_faults(baseline, kind)[0]
    (outcome,) = benchmark.run_faults(baseline, [fault], "small", jobs=1)
    assert outcome.found, (str(outcome.fault), outcome.how, outcome.shown)


def test_without_a_fault_the_program_is_that_of_the_compiler(baseline: Baseline) -> None:
    nothing = benchmark.Fault("none", "lower", "nowhere", lambda program: program)
    assert [each.how for each in benchmark.run_faults(baseline, [nothing], "small", jobs=1)] == [
        benchmark.SAME
    ]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", KINDS)
def test_faults_of_every_kind_are_found(kind: str, baseline: Baseline) -> None:
    for outcome in benchmark.run_faults(
        baseline, benchmark.choose_faults(baseline, 2, "0", [kind]), "small", 2
    ):
        assert outcome.found or outcome.how == benchmark.SAME, (str(outcome.fault), outcome.shown)
