"""A text is cut where its statements begin, and what is read from a part depends on nothing around it."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from parc.diagnostic import Diagnostic
from parc.source import Source, Span
from parc.syntax.parse import parse, parse_part
from parc.syntax.parts import split_text
from tests.front.plans import SEED


def split_pieces(text: str) -> list[str]:
    return [text[start:end] for start, end in split_text(text)]


@pytest.mark.parametrize(
    "parts",
    [
        [""],
        ["# a comment\n\n", "let a = 1\n", "let b = 2"],
        ["train a {\n  steps = 1\n}\n\n# of the plan\n", "plan b for a on c { }\n"],
        ["plan b for a on c {\nmesh = [ep: 8]\n}\n", "let x = 1\n"],  # a body that is not indented
        ['let a = "{"  # {\n', "let b = 2\n"],
        ['let a = "{\n', "let b = 2\n"],  # a string without its end goes to the end of the line
        ["let a = [1,\n2\n]\n", "let b = 2\n"],
        ["plan b for a on c {\n  mesh = [ep: 8\n}\n", "let x = 1\n"],  # only a brace closes across brackets
        ["plan b for a on c { mesh = ep: 8]\n}\n", "let x = 1\n"],
        ["}\n", "let x = 1\n"],
        ["train a {\n  steps = 1\n\n", "plan b for a on c { }\n", "let x = 1\n"],  # never closed
        ["train a {\nbatch {\nsteps = 1\n}\ndata over [ep]\n\n", "plan b for a on c { }\n"],
    ],
)
def test_where_a_text_is_cut(parts: list[str]) -> None:
    assert split_pieces("".join(parts)) == parts


def shift_spans(value: Any, starts: dict[Source, int]) -> Any:
    """A tree or a diagnostic with (start, end) of the whole text for every span.

    Without the fix: which one is offered, trying it on the whole text decides.
    """
    if isinstance(value, Span):
        return value.start + starts[value.source], value.end + starts[value.source]
    if isinstance(value, Diagnostic):
        value = (value.code, value.message, value.labels, value.notes, value.help)
    if isinstance(value, tuple):
        return tuple(shift_spans(each, starts) for each in value)
    return value


def mutate_text(random: Random, text: str) -> str:
    """As typing leaves it: something cut out, put in, or doubled."""
    for _ in range(random.randint(1, 4)):
        start = random.randrange(len(text) + 1)
        end = min(len(text), start + random.choice((0, 0, 1, 1, 2, 30)))
        instead = random.choice(["", "{", "}", "[", "]", '"', "\n", "=", ",", "#", "a ", text[start:end] * 2])
        text = text[:start] + instead + text[end:]
    return text


@pytest.mark.parametrize("seed", range(300))
def test_a_part_by_itself_says_what_it_says_among_the_others(seed: int) -> None:
    text = mutate_text(Random(seed), SEED)
    whole = Source("plan.parc", text)
    file, faults = parse(whole)
    sources = [(start, Source("plan.parc", text[start:end])) for start, end in split_text(text)]
    parts = [parse_part(source) for _, source in sources]
    starts = {whole: 0} | {source: start for start, source in sources}
    assert [shift_spans(each, starts) for each in file.statements] == [
        shift_spans(each, starts) for part in parts for each in part.statements
    ]
    assert [shift_spans(each, starts) for each in faults] == [
        shift_spans(each, starts) for part in parts for each in part.faults
    ]
    assert file.damaged == any(part.damaged for part in parts)


def test_a_fault_harms_no_other_block() -> None:
    """A body that is not closed ends where the next block begins: both are read."""
    file, faults = parse(Source("plan.parc", "train a {\n  steps = 1\n\ntrain b {\n  steps = \n}\n"))
    assert len(file.statements) == 2
    assert [fault.code for fault in faults] == ["P004", "P001"]
