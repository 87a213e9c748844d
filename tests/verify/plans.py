"""The plans of two small models in `tests/plans/run/`, and others of these models."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from parc.capture.capture import Captured, capture
from parc.check.load import Loaded, choose, load, load_text
from parc.ir.program import Program
from parc.lower.program import lower
from parc.plan.blocks import Plan
from parc.shard.propagate import propagate
from parc.source import Source

EXAMPLES = Path(__file__).parents[2] / "examples"
PLANS = Path(__file__).parents[1] / "plans"
RUN = sorted((PLANS / "run").glob("*.parc"))
VOCABULARY = 32  # of both models

LAYOUTS = [
    file.stem for file in RUN if re.findall(r"^plan (\w+)", file.read_text(), re.M) == ["moe", "classic"]
]
"""The files of `tests/plans/run/` that lay out both models."""
FOLDED = [
    ("experts-over-several-axes", "replicated"),
    ("tensor-over-several-axes", "split_and_sequence"),
    ("experts-split-elsewhere", "spread_and_split"),
    ("pipeline-over-several-axes", "axis_of_one_rank"),
    ("sharded-over-a-part", "parameters"),
]
"""Plans with a strategy over several axes that differ most: (file, plan) in `tests/plans/run/`."""
MODELS = (PLANS / "library" / "small.parc").read_text().replace("../../../examples/", "")
"""Both models and how they are trained, as text of a plan in `examples/`."""


def loaded(model: str, ranks: int, layout: str) -> Loaded:
    """One plan, `p`, of a model on so many ranks; its diagnostics are for the caller to judge."""
    text = f"{MODELS}cluster c {{ levels = [node: {ranks}] }}\nplan p for {model}_run on c {{\n{layout}\n}}\n"
    return load_text(Source(str(EXAMPLES / "of-a-test.parc"), text))


def list_folded() -> list[Any]:
    """All plans of the files of `FOLDED`, as arguments of tests: those that are not listed are slow."""
    files = [file for file, _ in FOLDED]
    found = [(file.stem, plan.name) for file in RUN if file.stem in files for plan in load(file).plans]
    slow = {key: [] if key in FOLDED else [pytest.mark.slow] for key in found}
    return [pytest.param(*key, id="-".join(key), marks=marks) for key, marks in slow.items()]


def find_plan(model: str, layout: str) -> Plan:
    """The plan of a model and a layout that are named in `tests/plans/run/`."""
    plan = choose(load(PLANS / "run" / f"{layout}.parc"), model)
    assert isinstance(plan, Plan), plan
    return plan


@cache
def captured(model: str) -> Captured:
    """No plan changes what is captured, so that all of them share it."""
    return capture(find_plan(model, "one-rank"))


def compile_program(plan: Plan, model: Captured) -> Program:
    """The program of a plan, in memory."""
    return lower(plan, model, propagate(plan, model))
