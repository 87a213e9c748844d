"""What may be written at the cursor, from the schema and from the plan; the text may be half typed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from parc.lsp.document.analysis import Analysis
from parc.lsp.document.cursor import Frame, Place, find
from parc.lsp.document.files import importable, sources
from parc.lsp.edits import nearest_values as values
from parc.lsp.language import docs
from parc.plan import subjects
from parc.plan.schema import TOP
from parc.plan.schema.form import Form, Key
from parc.syntax import units
from parc.syntax.parts import cut

Kind: TypeAlias = Literal["block", "key", "value", "name", "unit", "file", "keyword", "figure"]
HEADS = re.compile(r"^[ \t]*(machine|cluster|model|train|plan|let)[ \t]+([^\W\d]\w*)", re.M)
LEVELS = re.compile(r"\blevels\s*=\s*\[([^\]]*)")


@dataclass(frozen=True)
class Item:
    """`insert` replaces the characters from `start` to `end`; in a snippet, `$1` is where the cursor goes.

    Those with a lower `order` come first.
    """

    label: str
    kind: Kind
    insert: str
    start: int = 0
    end: int = 0
    detail: str = ""
    doc: str = ""
    order: int = 0
    snippet: bool = False


def complete(analysis: Analysis, offset: int) -> list[Item]:
    place = find(analysis.source, offset)
    word = place.word
    if word and word.kind == "comment":
        return []
    start = word.start if word and word.kind in ("name", "string", "number") else offset
    end = word.end if word and word.end >= offset else offset
    items = _items(analysis, place)
    return [replace(each, start=start, end=max(end, start)) if not each.end else each for each in items]


def _items(analysis: Analysis, place: Place) -> Iterator[Item]:
    inner, body = place.inner, place.body
    words = [each.text for each in inner.words]
    if place.word and place.word.kind == "number":
        yield from _numbers(analysis, place)
    elif inner.opener in ("[", "("):
        yield from _in_brackets(analysis, place)
    elif body.opener == "":
        yield from _at_top(analysis, words)
    elif body.key:
        yield from _value(analysis, place)
    elif words:
        yield from _rest_of_head(analysis, place, words)
    else:
        yield from _statements(analysis, place)


def _at_top(analysis: Analysis, words: list[str]) -> Iterator[Item]:
    match words:
        case []:
            yield from (_block(form, top=True) for form in TOP.values())
            yield Item(
                "import", "keyword", 'import "$1"', snippet=True, doc="Another plan file, or hardware."
            )
            yield Item("let", "keyword", "let ${1:name} = $0", snippet=True, doc="A constant.")
        case ["import"]:
            yield from _files(importable(analysis))
        case [*_, "for"]:
            yield from _named(analysis, "plan" if words[0] == "launch" else "train")
        case [*_, "on"]:
            yield from _named(analysis, "cluster")
        case [kind, *_] if kind in TOP and len(words) % 2 == 0:
            wanted = [each for each in TOP[kind].head if each != "label" and each not in words]
            yield from (Item(each, "keyword", f"{each} ") for each in wanted[:1])
        case ["let", _, "=", *_]:
            yield from _named(analysis, "let")


def _rest_of_head(analysis: Analysis, place: Place, words: list[str]) -> Iterator[Item]:
    form = place.form
    if form is None:
        return
    if form.claims:
        if len(words) == 1:
            yield from (Item(each, "keyword", f"{each} ") for each in ("<=", ">=", "==", "<", ">", "!="))
        else:
            yield from _named(analysis, "let")
        return
    inner = form.find_block(words[0])
    if inner and "over" in inner.head and len(words) == 1:
        yield Item("over", "keyword", "over [$0]", snippet=True)
    if inner and "label" in inner.head and len(words) == 1:
        yield from (Item(each, "name", each, detail="level") for each in _levels(analysis, place))


def _statements(analysis: Analysis, place: Place) -> Iterator[Item]:
    """Keys and blocks that the body may still have."""
    form = place.form
    if form is None:
        return
    if form.claims:
        levels = _cluster_levels(analysis)
        for name in subjects.list_subjects(levels):
            subject = subjects.find_subject(name, levels)
            if subject:
                doc = f"{units.words(subject.dimension)}: {subject.description}"
                yield Item(name, "figure", f"{name} ", detail=subject.description, doc=doc)
    for key in form.keys:
        if key.name not in place.body.keys:
            yield _key(form, key)
    for block in form.blocks:
        there = block.kind in place.body.blocks and not block.many
        if not (there or _is_value(form, block)):
            yield _block(block)


def _is_value(form: Form, block: Form) -> bool:
    """`adamw { .. }` stands as a value, not as a block."""
    return any(block.kind in key.choices for key in form.keys)


def _value(analysis: Analysis, place: Place) -> Iterator[Item]:
    key = place.key
    if key is None:
        yield from _named(analysis, "let")
        return
    yield from _choices(key)
    if key.kind == "block":
        yield from _named(analysis, key.name)
    elif key.name == "source":
        yield from _files(sources(analysis, place.before))
    elif key.kind == "counts":
        yield from _layers(analysis)
    elif key.kind in ("count", "quantity", "real"):
        yield from _numbers(analysis, place)
        yield from _named(analysis, "let")
    if key.example and key.kind not in ("choice", "call", "configured"):
        yield Item(key.example, "value", key.example, detail="such as this", order=30)


def _choices(key: Key) -> Iterator[Item]:
    """The words that the value may be, or may begin with."""
    if key.kind == "flag":
        yield from (Item(each, "value", each) for each in ("true", "false"))
    for order, choice in enumerate(key.choices):
        text = f'"{choice}"' if key.example.startswith('"') else choice
        if key.kind == "call":
            text = f'{choice}("$1")'
        elif key.kind == "configured":
            text = f"{choice} {{ $0 }}"
        yield Item(choice, "value", text, detail=key.doc, order=order, snippet="$" in text)


def _in_brackets(analysis: Analysis, place: Place) -> Iterator[Item]:
    head = [word.text for word in place.inner.head]
    body = _text_of(analysis, place)
    taken = {word.text for word in place.inner.words} | place.inner.blocks
    if "over" in head or (place.key and place.key.kind == "axes"):
        for name, size in values.axes(body).items():
            if name not in taken:
                yield Item(name, "name", name, detail=f"{size:,} ranks")
    elif place.inner.words and place.inner.words[-1].text == ":":
        yield from _numbers(analysis, place)
    elif place.inner.opener == "(" and "tokens" in head:
        yield from (Item(each, "value", f'"{each}"') for each in ("uint8", "uint16", "uint32", "int32"))
    elif place.key and place.key.kind == "counts":
        yield from _layers(analysis)


def _numbers(analysis: Analysis, place: Place) -> Iterator[Item]:
    """Legal values first; behind a number its units."""
    word, key = place.word, place.key
    digits = re.match(r"[0-9._]*", word.text)[0] if word and word.kind == "number" else ""  # type: ignore[index]  # it may match nothing, and always matches
    form, words = place.form, place.inner.words
    dimension = key.dimension if key else units.NUMBER
    if form and form.claims and words:
        dimension = _claimed(analysis, words[0].text)
    if digits:
        yield from (replace(each, insert=f"{digits} {each.label}") for each in _units(dimension))
    start, end = (word.start, word.end) if word and word.kind == "number" else (place.offset, place.offset)
    name = key.name if key else ""
    plan = analysis.plan(place.offset) or next(iter(analysis.plans), None)
    others = 1
    if name == "mesh":
        sizes = values.axes(_text_of(analysis, place))
        current = next((each.text for each in reversed(place.inner.words) if each.kind == "name"), "")
        for axis, size in sizes.items():
            others *= size if axis != current else 1
    found = values.candidates(plan, name, others)
    for order, (value, legal) in enumerate(values.legal_first(analysis, start, end, found)):
        detail = "fits" if legal else "leaves more errors"
        yield Item(str(value), "value", str(value), detail=detail, order=order)


def _layers(analysis: Analysis) -> Iterator[Item]:
    from parc.plan.placement import spread_layers

    for plan in analysis.plans:
        if plan.pipeline and (layers := plan.train.model.shape.layers):
            even = spread_layers(layers, plan.mesh.product(plan.pipeline.axes) * plan.pipeline.chunks)
            if 0 < len(even) <= 64:
                text = ", ".join(map(str, even))
                yield Item(text, "value", text, detail=f"{layers} layers, as even as can be")


def _units(dimension: units.Dimension) -> Iterator[Item]:
    for order, (name, (_, measures)) in enumerate(units.UNITS.items()):
        if measures == dimension and dimension != units.NUMBER:
            yield Item(name, "unit", name, detail=units.words(dimension).split(",")[0], order=order)


def _claimed(analysis: Analysis, name: str) -> units.Dimension:
    subject = subjects.find_subject(name, _cluster_levels(analysis))
    return subject.dimension if subject else units.NUMBER


def _named(analysis: Analysis, kind: str) -> Iterator[Item]:
    """The blocks of a kind, or constants, read from the texts: damaged ones count too."""
    for file in analysis.files.values():
        for found in HEADS.finditer(file.source.text):
            if found[1] == kind:
                yield Item(found[2], "name", found[2], detail=kind)


def _levels(analysis: Analysis, place: Place) -> list[str]:
    found = LEVELS.search(_text_of(analysis, place))
    return [name for name, _ in values.PAIR.findall(found[1])] if found else []


def _cluster_levels(analysis: Analysis) -> list[str]:
    levels = [level.name for plan in analysis.plans for level in plan.cluster.levels]
    return list(dict.fromkeys(levels)) or ["node"]


def _text_of(analysis: Analysis, place: Place) -> str:
    """The top-level block that the cursor is in."""
    top: Frame | None = place.top
    if top is None or not top.head:
        return ""
    text, start = analysis.source.text, top.head[0].start
    end = next((end for begin, end in cut(text) if begin <= start < end), len(text))
    return text[start:end]


def _files(found: Iterable[tuple[str, str]]) -> Iterator[Item]:
    for order, (name, detail) in enumerate(found):
        yield Item(name, "file", f'"{name}"', detail=detail, order=order)


def _key(form: Form, key: Key) -> Item:
    order = 0 if key.needed else 2
    return Item(key.name, "key", f"{key.name} = ", detail=key.type, doc=docs.of_key(form, key), order=order)


def _block(form: Form, top: bool = False) -> Item:
    parts = [form.kind]
    holes = iter(range(1, 9))
    for part in form.head:
        hole = next(holes)
        parts.append({"label": f"${hole}", "over": f"over [${hole}]"}.get(part, f"{part} ${hole}"))
    if "over" not in form.head:
        parts.append("{\n  $0\n}" if top else "{ $0 }")
    return Item(form.kind, "block", " ".join(parts), doc=docs.of_form(form), order=1, snippet=True)
