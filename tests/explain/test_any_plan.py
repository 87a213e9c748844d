"""Whatever the faults of a plan, explaining it raises nothing: an editor shows it before it is whole."""

from __future__ import annotations

import time

import pytest

from parc.check.load import load_text
from parc.check.registry import Rule
from parc.render.overview import render
from parc.render.page import render_page
from parc.render.perfetto import render_trace
from parc.render.terminal import Pen
from parc.report import serialize
from parc.report.difference import compare_plans
from parc.report.overview import build_overview
from parc.report.rank import describe_rank
from parc.source import Source
from tests.front.plans import SEED, complete, load
from tests.front.test_rules import named, part, with_example
from tests.timing import measure_slowness


@pytest.mark.parametrize("rule", with_example, ids=named)
def test_the_example_of_every_rule_can_be_explained(rule: Rule) -> None:
    pages = [
        build_overview(plan)
        for which in ("Example", "Instead")
        for plan in load(complete(part(rule, which))).plans
    ]
    for overview in pages:
        assert overview.plan.name in render(overview, Pen(), verbose=True)
        assert "</html>" in render_page(overview)
        last = overview.plan.mesh.size - 1
        assert serialize.serialize_rank(describe_rank(overview, last))["rank"] == last
        render_trace(overview)
        difference = serialize.serialize_difference(compare_plans(pages[0], overview))
        assert difference["after"] == overview.plan.name


@pytest.mark.parametrize(
    "sizes",
    [
        "layers = 4, hidden = 1, heads = 16, ffn = 1, vocab = 1",
        "layers = 4, hidden = 9007199254740992, heads = 1, ffn = 9007199254740992, vocab = 9007199254740992",
    ],
)
def test_sizes_of_any_size(sizes: str) -> None:
    text = complete(f'model moe {{ source = "m.py:M", shape {{ {sizes} }} }}')
    for plan in load(text).plans:
        overview = build_overview(plan)
        assert plan.name in render(overview, Pen(), verbose=True)
        assert "</html>" in render_page(overview)


@pytest.mark.parametrize("layers", [10**9, 2**53])
def test_layers_without_end_are_counted_and_not_enumerated(layers: int) -> None:
    shape = f"layers = {layers}, dense_layers = 3"
    text = SEED.replace(" layers = 16, hidden", f" {shape}, hidden")
    text = text.replace(", layers = [4, 4, 4, 4]", "")
    (plan,) = load_text(Source("plan.parc", text)).plans
    begun = time.process_time()
    overview = build_overview(plan)
    render(overview, Pen(), verbose=True)
    assert time.process_time() - begun < measure_slowness()
    assert sum(stage.moe_layers for stage in overview.stages) == layers - 3
