"""The schema: readers ask for all of its keys and no others, and it agrees with the types of the blocks."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import fields

import pytest

from parc.plan import blocks
from parc.plan.resolve.reader import BlockReader
from parc.plan.schema import TOP
from parc.plan.schema.form import Form, Key
from tests.front.plans import SEED, load


def iterate_forms(among: typing.Iterable[Form] = tuple(TOP.values())) -> Iterator[Form]:
    for form in among:
        yield form
        yield from iterate_forms(form.blocks)


FORMS = list(iterate_forms())
KEYS = [(form, key) for form in FORMS for key in form.keys]
KINDS = {"count": int, "real": float, "quantity": float, "flag": bool, "text": str}
CALLS = ("tokens", "files")
WORTH = {"call", "configured", "sizes", "axes", "block", "texts", "counts", "kinds"}


def name_case(case: tuple[Form, Key]) -> str:
    return f"{case[0].kind}.{case[1].name}"


def test_readers_ask_for_every_key_and_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that nobody reads would have no effect; one that is not listed fails an assertion."""
    asked: set[tuple[str, str]] = set()
    node, blocks = BlockReader.get_node, BlockReader.get_blocks
    monkeypatch.setattr(
        BlockReader, "get_node", lambda self, key: (asked.add((self.form.kind, key)), node(self, key))[1]
    )
    monkeypatch.setattr(
        BlockReader,
        "get_blocks",
        lambda self, kind: (asked.add((self.form.kind, kind)), blocks(self, kind))[1],
    )
    others = "model other { inputs { tokens = 3 } }\ntrain other { model = moe, approximate { } }\n"
    load(SEED + others + "machine dgx { device {}, link node {} }")
    closed = [form for form in FORMS if not form.open and form.kind not in CALLS]
    wanted = {(form.kind, key.name) for form in closed for key in form.keys}
    wanted |= {(form.kind, block.kind) for form in closed for block in form.blocks}
    assert wanted - asked == {
        ("train", each) for each in ("adamw", *CALLS)
    }  # values with settings, no blocks


@pytest.mark.parametrize("case", [case for case in KEYS if case[0].dataclass], ids=name_case)
def test_a_key_is_a_field_of_the_block_with_the_same_type(case: tuple[Form, Key]) -> None:
    form, key = case
    hints = typing.get_type_hints(getattr(blocks, form.dataclass))
    assert key.name in hints
    hint = hints[key.name]
    options = [each for each in typing.get_args(hint) if each is not type(None)] or [hint]
    if key.kind == "choice" and hint is not str:
        assert key.choices == tuple(options)
    elif key.kind not in WORTH and key.kind != "choice":
        assert options in ([KINDS[key.kind]], [int]), options  # a whole number may be read as a plain one


@pytest.mark.parametrize("form", [form for form in FORMS if form.dataclass], ids=lambda form: form.kind)
def test_a_key_that_must_be_there_has_no_default(form: Form) -> None:
    defaults = {
        each.name for each in fields(getattr(blocks, form.dataclass)) if each.default is each.default_factory
    }
    assert {key.name for key in form.keys if key.needed} <= defaults


@pytest.mark.parametrize("case", KEYS, ids=name_case)
def test_a_key_has_a_sentence_a_type_and_an_example(case: tuple[Form, Key]) -> None:
    assert case[1].doc.endswith(".")
    assert case[1].type
    assert case[1].example
