"""Completes statements: keywords, blocks, keys, claims, and the words before a body."""

from __future__ import annotations

from collections.abc import Iterator

from parc.check.claims.figures import derive_figure
from parc.check.claims.verdict import format_value
from parc.check.costs import Unknown
from parc.lsp.completion.declared import list_cluster_levels, list_declared, list_levels
from parc.lsp.completion.files import list_importable_files, offer_files
from parc.lsp.completion.item import Item
from parc.lsp.document.analysis import Analysis
from parc.lsp.document.cursor import CursorContext
from parc.lsp.language.schema_docs import describe_form, describe_key
from parc.plan import subjects
from parc.plan.schema import TOP
from parc.plan.schema.form import Form, Key
from parc.syntax import units
from parc.syntax.scan import NUMBER


def list_top_level(analysis: Analysis, words: list[str]) -> Iterator[Item]:
    """What may follow these words of a statement outside of all blocks."""
    match words:
        case []:
            yield from (_offer_block(form, top=True) for form in TOP.values())
            yield Item(
                "import", "keyword", 'import "$1"', snippet=True, doc="Another plan file, or hardware."
            )
            yield Item("let", "keyword", "let ${1:name} = $0", snippet=True, doc="A constant.")
        case ["import"]:
            yield from offer_files(list_importable_files(analysis))
        case [*_, "for"]:
            yield from list_declared(analysis, "plan" if words[0] == "launch" else "train")
        case [*_, "on"]:
            yield from list_declared(analysis, "cluster")
        case [kind, *_] if kind in TOP and len(words) % 2 == 0:
            missing = [each for each in TOP[kind].head if each != "label" and each not in words]
            yield from (Item(each, "keyword", f"{each} ") for each in missing[:1])
        case ["let", _, "=", *_]:
            yield from list_declared(analysis, "let")


def list_head_words(analysis: Analysis, context: CursorContext, words: list[str]) -> Iterator[Item]:
    """What may follow these words of a claim or of the head of an inner block."""
    form = context.form
    if form is None:
        return
    if form.claims:
        if len(words) == 1:
            yield from (Item(each, "keyword", f"{each} ") for each in ("<=", ">=", "==", "<", ">", "!="))
        else:
            yield from list_claimed(analysis, context, words)
            yield from list_declared(analysis, "let")
        return
    inner = form.find_block(words[0])
    if inner and "over" in inner.head and len(words) == 1:
        yield Item("over", "keyword", "over [$0]", snippet=True)
    if inner and "label" in inner.head and len(words) == 1:
        yield from (Item(each, "name", each, detail="level") for each in list_levels(analysis, context))


def list_claimed(analysis: Analysis, context: CursorContext, words: list[str]) -> Iterator[Item]:
    """What the subject of a claim is now, in its plan; `words` are those of the claim before the cursor."""
    plan = analysis.find_plan(context.offset)
    if plan is None or not words or not subjects.find_subject(words[0], list_cluster_levels(analysis)):
        return
    try:
        figure = derive_figure(analysis.find_costs(plan), words[0])
    except Unknown:
        return
    text = format_value(figure).replace(",", "")
    if NUMBER.match(text):
        yield Item(text, "value", text, detail=f"what it is now ({figure.grade})", doc=figure.how)


def list_statements(analysis: Analysis, context: CursorContext) -> Iterator[Item]:
    """The keys, blocks and claims that the body may still have."""
    form = context.form
    if form is None:
        return
    if form.claims:
        levels = list_cluster_levels(analysis)
        for name in subjects.list_subjects(levels):
            subject = subjects.find_subject(name, levels)
            if subject:
                doc = f"{units.describe_dimension(subject.dimension)}: {subject.description}"
                yield Item(name, "figure", f"{name} ", detail=subject.description, doc=doc)
    for key in form.keys:
        if key.name not in context.body.keys:
            yield _offer_key(form, key)
    for block in form.blocks:
        complete = block.kind in context.body.blocks and not block.many
        if not (complete or _is_value(form, block)):
            yield _offer_block(block)


def _is_value(form: Form, block: Form) -> bool:
    """Whether the block is written as a value, such as `adamw { .. }`."""
    return any(block.kind in key.choices for key in form.keys)


def _offer_key(form: Form, key: Key) -> Item:
    order = 0 if key.needed else 2
    doc = describe_key(form, key)
    return Item(key.name, "key", f"{key.name} = ", detail=key.type, doc=doc, order=order)


def _offer_block(form: Form, top: bool = False) -> Item:
    parts = [form.kind]
    for number, part in enumerate(form.head, 1):
        snippets = {"label": f"${number}", "over": f"over [${number}]"}
        parts.append(snippets.get(part, f"{part} ${number}"))
    if "over" not in form.head:
        parts.append("{\n  $0\n}" if top else "{ $0 }")
    return Item(form.kind, "block", " ".join(parts), doc=describe_form(form), order=1, snippet=True)
