"""Reading a file again gives what reading it afresh gives, and only what changed is read."""

from __future__ import annotations

import pytest

from parc.plan.resolve.memo import Memo
from parc.plan.resolve.resolver import Resolver
from parc.source import Source
from parc.syntax.parse import Part, parse_part
from parc.syntax.parts import split_text
from parc.syntax.tree import File
from tests.front.plans import SEED

TEXT = (
    "let half = 4\n"
    + SEED.replace("[ep: 8, pp: 4", "[ep: half * 2, pp: 4")
    + """
plan narrow for first on farm {
  mesh = [dp: 128]
  data over [dp]
}
"""
)


class Editor:
    """Parts that stand as they stood keep their trees."""

    def __init__(self) -> None:
        self.memo = Memo()
        self.parts: dict[str, Part] = {}

    def read(self, text: str) -> tuple[Resolver, list[str]]:
        pieces = [text[start:end] for start, end in split_text(text)]
        self.parts = {each: self.parts.get(each) or parse_part(Source("a.parc", each)) for each in pieces}
        statements = [statement for each in pieces for statement in self.parts[each].statements]
        faults = [fault for each in pieces for fault in self.parts[each].faults]
        damaged = any(self.parts[each].damaged for each in pieces)
        resolver = Resolver([File(Source("a.parc", text), tuple(statements), damaged)], faults, self.memo)
        return resolver, [fault.message for fault in faults]


# What is changed, and which plans need not be read again.
CHANGES = {
    "a comment in the cluster of both": ("# outermost first", "# first", set()),
    "a plan": ("[dp: 128]", "[dp: 64]", {"wide"}),
    "the train of both": ("seed = 1", "seed = 2", set()),
    "the model of both": ("layers = 16, hidden", "layers = 18, hidden", set()),
    "a constant of one": ("half = 4", "half = 3", {"narrow"}),
    "the name of a constant": ("let half", "let third", set()),
    "a train that is no more": ("train first", "train second", set()),
    "damage in the train": ("train first {", "train first { = = ", set()),
    "damage elsewhere": ("launch slurm", "launch = slurm", {"wide", "narrow"}),
}


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_reading_again_is_reading_afresh(change: str) -> None:
    old, new, kept = CHANGES[change]
    assert old in TEXT
    editor = Editor()
    before, _ = editor.read(TEXT)
    after, told = editor.read(TEXT.replace(old, new, 1))
    anew, told_anew = Editor().read(TEXT.replace(old, new, 1))
    assert told == told_anew
    assert [each.name for each in after.plans] == [each.name for each in anew.plans]
    assert [(each.mesh, each.train.steps) for each in after.plans] == [
        (each.mesh, each.train.steps) for each in anew.plans
    ]
    assert {one.name for one in before.plans for other in after.plans if one is other} == kept
