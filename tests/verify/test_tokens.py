"""The data of a proof reach every shard of the vocabulary."""

from __future__ import annotations

from dataclasses import replace

from parc.plan.blocks import Plan
from parc.verify.sample.tokens import find_vocabulary

from .plans import captured, loaded


def plan(vocab: int | None) -> Plan:
    """One of a model that looks up 32 symbols and 6 positions."""
    whole = loaded("classic", 1, "mesh = [dp: 1]\ndata over [dp]").plans[0]
    shape = replace(whole.train.model.shape, vocab=vocab)
    return replace(whole, train=replace(whole.train, model=replace(whole.train.model, shape=shape)))


def test_a_plan_may_state_the_vocabulary() -> None:
    assert find_vocabulary(plan(20), captured("classic")) == 20


def test_else_it_is_that_of_the_table_that_tokens_are_looked_up_in() -> None:
    """Not of the smaller one of positions: no id would lie in the second shard of the symbols."""
    assert find_vocabulary(plan(None), captured("classic")) == 32
