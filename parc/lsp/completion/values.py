"""Completes values: choices, names, files, axes, layers of stages."""

from __future__ import annotations

from collections.abc import Iterator

from parc.lsp.completion.declared import find_block_text, list_declared
from parc.lsp.completion.files import list_model_sources, offer_files
from parc.lsp.completion.item import Item
from parc.lsp.completion.numbers import list_numbers
from parc.lsp.document.analysis import Analysis
from parc.lsp.document.cursor import CursorContext
from parc.lsp.edits.legal_values import parse_axes
from parc.plan.placement import spread_layers
from parc.plan.schema.form import Key
from parc.plan.schema.meanings import describe_choice
from parc.plan.schema.train import TOKEN_TYPES

MAX_STAGES = 64  # whose layers are offered as a list


def list_values(analysis: Analysis, context: CursorContext) -> Iterator[Item]:
    """What may follow `key =`."""
    key = context.key
    if key is None:
        yield from list_declared(analysis, "let")
        return
    yield from _list_choices(context.form.kind if context.form else "", key)
    if key.kind == "block":
        yield from list_declared(analysis, key.name)
    elif key.name == "source":
        yield from offer_files(list_model_sources(analysis, context.typed))
    elif key.kind == "counts":
        yield from _list_layers(analysis)
    elif key.kind in ("count", "quantity", "real"):
        yield from list_numbers(analysis, context)
        yield from list_declared(analysis, "let")
    if key.example and key.kind not in ("count", "flag", "block", "choice", "call", "configured"):
        yield Item(key.example, "value", key.example, detail="an example", order=30)


def _list_choices(form: str, key: Key) -> Iterator[Item]:
    """The words that are the value, or begin it, each with its meaning."""
    if key.kind == "flag":
        yield from (Item(each, "value", each) for each in ("true", "false"))
    for order, choice in enumerate(key.choices):
        text = choice
        if key.kind == "call":
            text = f'{choice}("$1")'
        elif key.kind == "configured":
            text = f"{choice} {{ $0 }}"
        meaning = describe_choice(form, key.name, choice)
        yield Item(
            choice, "value", text, detail=meaning or key.doc, doc=meaning, order=order, snippet="$" in text
        )


def list_bracket_values(analysis: Analysis, context: CursorContext) -> Iterator[Item]:
    """What may stand between `[ ]` or `( )`."""
    inner, key = context.inner, context.key
    head = [word.text for word in inner.head]
    if "over" in head or (key and key.kind == "axes"):
        used = {word.text for word in inner.words} | inner.blocks
        for name, size in parse_axes(find_block_text(analysis, context)).items():
            if name not in used:
                yield Item(name, "name", name, detail=f"{size:,} ranks")
    elif inner.words and inner.words[-1].text == ":":
        yield from list_numbers(analysis, context)
    elif inner.opener == "(" and "tokens" in head:
        yield from (Item(each, "value", each) for each in TOKEN_TYPES)
    elif key and key.kind == "counts":
        yield from _list_layers(analysis)
    elif key and key.kind == "kinds":
        yield from _list_choices(context.form.kind if context.form else "", key)


def _list_layers(analysis: Analysis) -> Iterator[Item]:
    """For each plan with a pipeline, the layers of its stages, spread evenly."""
    for plan in analysis.plans:
        if plan.pipeline and (layers := plan.train.model.shape.layers):
            even = spread_layers(layers, plan.mesh.product(plan.pipeline.axes) * plan.pipeline.chunks)
            if 0 < len(even) <= MAX_STAGES:
                text = ", ".join(map(str, even))
                yield Item(text, "value", text, detail=f"{layers} layers, spread evenly")
