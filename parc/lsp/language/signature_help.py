"""Signature help: the keys of the block, or the arguments of the function, that is being written."""

from __future__ import annotations

from typing import NamedTuple

from parc.lsp.document.analysis import Analysis
from parc.lsp.document.cursor import find_context
from parc.lsp.language.schema_docs import describe_key
from parc.plan.schema.form import Form
from parc.plan.schema.train import FILES, TOKENS

FUNCTIONS = {"tokens": TOKENS, "files": FILES}


class Signature(NamedTuple):
    label: str
    doc: str
    keys: tuple[tuple[str, str], ...]  # each as it is in the label, and its documentation
    active: int | None  # index of the key at the cursor


def find_signature(analysis: Analysis, offset: int) -> Signature | None:
    """The signature of the innermost block or function at an offset."""
    context = find_context(analysis.source, offset)
    inner, words = context.inner, context.body.words
    word = context.word.text if context.word else ""
    if inner.opener == "(":
        form = FUNCTIONS.get(inner.head[-1].text if inner.head else "")
        return _build_signature(form, "(", ")", inner.key or word, ("..",))
    return _build_signature(context.form, " { ", " }", words[0].text if words else word)


def _build_signature(
    form: Form | None, begin: str, end: str, current: str, first: tuple[str, ...] = ()
) -> Signature | None:
    if form is None or not (form.keys or first):
        return None
    keys = [(each, "") for each in first]
    keys += [(key.name if key.needed else f"{key.name}?", describe_key(form, key)) for key in form.keys]
    active = next((at for at, key in enumerate(form.keys, len(first)) if key.name == current), None)
    label = f"{form.kind}{begin}{', '.join(name for name, _ in keys)}{end}"
    return Signature(label, form.doc, tuple(keys), active)
