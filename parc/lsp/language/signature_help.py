"""The keys of the block, or the arguments of the function, that are being written."""

from __future__ import annotations

from typing import NamedTuple

from parc.lsp.document.analysis import Analysis
from parc.lsp.document.cursor import find
from parc.lsp.language import docs
from parc.plan.schema.form import Form, Key
from parc.plan.schema.train import TOKENS

FILES = Form("files", "Text, as bytes; globs, relative to the plan file.")
FUNCTIONS = {"tokens": TOKENS, "files": FILES}


class Signature(NamedTuple):
    """`active` is the place among `keys` of the one at the cursor."""

    label: str
    doc: str
    keys: tuple[tuple[str, str], ...]  # as they stand in the label, and what they are
    active: int | None


def signature(analysis: Analysis, offset: int) -> Signature | None:
    place = find(analysis.source, offset)
    if place.inner.opener == "(":
        form = FUNCTIONS.get(place.inner.head[-1].text if place.inner.head else "")
        return _signature(form, "(", ")", place.inner.key or (place.word.text if place.word else ""), ("..",))
    form, words = place.form, place.body.words
    current = words[0].text if words else place.word.text if place.word else ""
    return _signature(form, " { ", " }", current)


def _signature(
    form: Form | None, begin: str, end: str, current: str, first: tuple[str, ...] = ()
) -> Signature | None:
    if form is None or not (form.keys or first):
        return None
    keys = [*((each, "") for each in first), *((_shown(key), docs.of_key(form, key)) for key in form.keys)]
    active = next((at for at, key in enumerate(form.keys, len(first)) if key.name == current), None)
    label = f"{form.kind}{begin}{', '.join(shown for shown, _ in keys)}{end}"
    return Signature(label, form.doc, tuple(keys), active)


def _shown(key: Key) -> str:
    return key.name if key.needed else f"{key.name}?"
