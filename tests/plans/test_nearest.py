"""Every value that a message offers for a number, put into the plan, is one that no rule refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from parc.check.advice.nearest import FAMILY
from parc.check.load import load, load_text
from parc.diagnostic import Diagnostic
from parc.plan.blocks import Plan
from parc.source import Source, Span
from tests.plans.test_fail import FILES

NEAREST, SIZES = "nearest that (?:divide|line up|suit)", "sizes that (?:fit|leave none idle)"
OFFERS = re.compile(rf"(?:{NEAREST}|{SIZES}|always do): (.*)")
ENTRY = re.compile(r"([\w` ]+): (\d[\d,]*(?: or \d[\d,]*)*)(?: \(then (.*?P\d{3}\))\))?")
THINGS = {"tokens of the vocabulary": "vocab", "positions of a sequence": "length"}


class Offer(NamedTuple):
    place: Span
    text: str  # that is to stand there
    told: str  # what the message says that it brings up


def offers(found: Diagnostic, plan: Plan) -> Iterator[Offer]:
    """What a message offers, each with its place in the file."""
    for line in (found.help or "", *found.notes):
        if listed := OFFERS.search(line):
            for things, values, told in ENTRY.findall(listed[1]):
                for value in values.split(" or "):
                    edit = _edit(plan, things.strip().removeprefix("or "), int(value.replace(",", "")))
                    if edit:
                        yield Offer(*edit, told)


def _edit(plan: Plan, things: str, value: int) -> tuple[Span, str] | None:
    """None: the number is left to its default."""
    if axis := re.fullmatch(r"ranks of `(\w+)`", things):
        return plan.spans[f"mesh.{axis[1]}"], f"{axis[1]}: {value}"
    key, shape, batch = THINGS.get(things, things), plan.train.model.shape, plan.train.batch
    if key == "microbatches" and key not in batch.spans:
        return None
    return (shape if key in shape.spans else batch).spans[key], str(value)


def faults(offer: Offer) -> list[str]:
    """Of the family, about the number, once it is the one that is offered."""
    source, place = offer.place.source, offer.place
    text = source.text[: place.start] + offer.text + source.text[place.end :]
    new = Source(source.path, text)
    there = Span(new, place.start, place.start + len(offer.text))
    return [
        f"{each.message} ({each.code})"
        for each in load_text(new).diagnostics
        if each.code in FAMILY and any(label.span.overlaps(there) for label in each.labels)
    ]


def offered(file: Path) -> Iterator[tuple[Diagnostic, Offer]]:
    """By findings in the file itself."""
    loaded = load(file)
    for found in loaded.diagnostics:
        if all(label.span.source is loaded.sources[0] for label in found.labels):
            about = [p for p in loaded.plans if any(p.span.overlaps(label.span) for label in found.labels)]
            for plan in about or loaded.plans[:1]:
                yield from ((found, offer) for offer in offers(found, plan))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_is_offered_brings_up_no_other_fault_of_the_number(file: Path) -> None:
    """Unless the message says so."""
    for found, offer in offered(file):
        assert all(fault in offer.told for fault in faults(offer)), (found.message, offer)


def test_values_are_offered_of_every_kind_of_number() -> None:
    """So that the test above has something to look at."""
    texts = [offer.text for file in FILES for _, offer in offered(file)]
    axes = [text for text in texts if ":" in text]
    assert len(axes) > 30
    assert len(texts) - len(axes) > 40
