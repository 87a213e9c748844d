"""Placements that the plan states, instead of leaving them to be inferred."""

from __future__ import annotations

from pathlib import Path

import pytest

from parc.diagnostic import CompileError
from parc.ir.program import Program
from parc.verify.sample.sample import compile_sample

from .plans import captured, compile_program, loaded
from .sample_runs import find_worst

WHOLE_ATTENTION = 'mesh = [tp: 2]\ntensor over [tp] { replicate = ["layers.*.attention.*"] }'
AS_INFERRED = """mesh = [tp: 2]
tensor over [tp] {
  sequence = true
  column = ["layers.*.attention.w[qkv].weight", "*.gate.weight", "*.up.weight"]
  row = ["layers.*.attention.wo.weight", "*.down.weight"]
}"""
ROUTER_CUT = 'mesh = [tp: 2]\ntensor over [tp] { column = ["layers.*.moe.router.*"] }'


def cuts(program: Program) -> dict[str, tuple[int, int]]:
    """dim and blocks of every parameter that `tp` cuts, by its class and path."""
    units = [unit for stage in program.stages for unit in (*stage.units, stage.root)]
    return {f"{u.name}.{p.path}": p.sharded["tp"] for u in units for p in u.parameters if "tp" in p.sharded}


@pytest.mark.parametrize("layout", [WHOLE_ATTENTION, AS_INFERRED])
def test_a_stated_placement_changes_nothing_that_is_computed(layout: str, tmp_path: Path) -> None:
    (plan,) = loaded("moe", 2, layout).plans
    sample = compile_sample(plan, captured=captured("moe"))
    assert find_worst(sample, tmp_path / "program").used < 1


def test_what_is_stated_whole_is_not_cut() -> None:
    (plan,) = loaded("moe", 2, WHOLE_ATTENTION).plans
    found = cuts(compile_program(plan, captured("moe")))
    assert found["FeedForward.gate.weight"] == (0, 1)
    assert not any(name.startswith("Attention.") for name in found)


def test_stating_what_would_be_inferred_is_the_same_program() -> None:
    (stated,) = loaded("moe", 2, AS_INFERRED).plans
    (inferred,) = loaded("moe", 2, "mesh = [tp: 2]\ntensor over [tp] { sequence = true }").plans
    assert cuts(compile_program(stated, captured("moe"))) == cuts(compile_program(inferred, captured("moe")))


def test_a_cut_that_cannot_be_is_refused_and_named() -> None:
    (plan,) = loaded("moe", 2, ROUTER_CUT).plans
    with pytest.raises(CompileError) as refused:
        compile_program(plan, captured("moe"))
    (diagnostic,) = refused.value.diagnostics
    assert diagnostic.code == "P507"
    assert "the plan cuts `layers.1.moe.router.proj.weight`" in diagnostic.message
    assert "softmax" in diagnostic.labels[0].span.text
