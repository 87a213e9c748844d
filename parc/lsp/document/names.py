"""Names and what they stand for: blocks, constants, axes and levels, in a file and all that it imports."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from parc.check.load import Loaded
from parc.diagnostic import Diagnostic, Severity
from parc.lsp.document.analysis import Analysis, Edit, edited
from parc.lsp.document.project import Project
from parc.plan.imports import HARDWARE
from parc.plan.schema import TOP
from parc.plan.schema.form import Form
from parc.plan.subjects import STRATEGIES
from parc.source import Span
from parc.syntax import tree

WORD = re.compile(r"[^\W\d]\w*")
KEEP = {"import", "let", "for", "on", "over", "true", "false"}  # no name may be one of these


class Symbol(NamedTuple):
    """`kind` is that of a top-level block, or "let", "axis" or "level"; `inside` is the block that has it."""

    kind: str
    name: str
    inside: str = ""


class Mention(NamedTuple):
    """`span` is in the text. `defines`: the name is given here."""

    symbol: Symbol
    span: Span
    defines: bool
    path: Path


def mentions(analysis: Analysis) -> list[Mention]:
    """Every name in the file and in all that it imports, in order."""
    return [
        Mention(symbol, analysis.whole(span), defines, path)
        for path, file in analysis.files.items()
        for statement in file.statements
        for symbol, span, defines in _of_statement(statement)
    ]


def at(analysis: Analysis, offset: int) -> Mention | None:
    """The name that the offset touches."""
    for mention in mentions(analysis):
        there = mention.span.source is analysis.source and mention.span.start <= offset <= mention.span.end
        if there and _is_known(analysis, mention.symbol):
            return mention
    return None


def _is_known(analysis: Analysis, symbol: Symbol) -> bool:
    """A word that may be a constant or a level is one only where that is defined."""
    return symbol.kind not in ("let", "level") or definition(analysis, symbol) is not None


def definition(analysis: Analysis, symbol: Symbol) -> Mention | None:
    found = (each for each in mentions(analysis) if each.symbol == symbol and each.defines)
    return next(found, None)


def uses(project: Project, analysis: Analysis, symbol: Symbol) -> list[Mention]:
    """All mentions of what the symbol stands for here, in every file of the workspace that sees it."""
    defined = definition(analysis, symbol)
    if defined is None:
        return []
    found: dict[tuple[Path, int], Mention] = {}
    for other in _everywhere(project, analysis):
        there = definition(other, symbol)
        if there and (there.path, there.span.start) == (defined.path, defined.span.start):
            for each in mentions(other):
                if each.symbol == symbol:
                    found.setdefault((each.path, each.span.start), each)
    return sorted(found.values(), key=lambda each: (str(each.path), each.span.start))


def _everywhere(project: Project, analysis: Analysis) -> list[Analysis]:
    """The file and all others of the workspace; not again the file itself, under another address."""
    return [analysis, *(each for each in project.all() if each.key != analysis.key)]


def fixed(analysis: Analysis, symbol: Symbol) -> bool:
    """Whether its name cannot be another: it has none in a file, or in one that comes with parc."""
    defined = definition(analysis, symbol)
    return defined is None or defined.path.is_relative_to(HARDWARE)


def refusal(project: Project, analysis: Analysis, symbol: Symbol, name: str) -> str | None:
    """Why the symbol cannot be called `name`."""
    if fixed(analysis, symbol):
        return f"`{symbol.name}` is not given its name in a file of yours"
    if not WORD.fullmatch(name) or name in KEEP:
        return f"`{name}` cannot be a name: letters, digits and `_`, no digit first"
    for other in _everywhere(project, analysis):
        if definition(other, symbol) and definition(other, symbol._replace(name=name)):
            return f"the {symbol.kind} `{name}` is there already"
        if symbol.kind == "let" and any(
            each.symbol == symbol._replace(name=name) for each in mentions(other)
        ):
            return f"`{name}` is a word that is used already, and would become the constant"
    return _spoilt(project, analysis, symbol, name)


def _spoilt(project: Project, analysis: Analysis, symbol: Symbol, name: str) -> str | None:
    """An error that would be there with the new name and is not there now."""
    edits: dict[Path, list[Edit]] = {}
    texts: dict[Path, str] = {}
    for each in uses(project, analysis, symbol):
        edits.setdefault(each.path, []).append((each.span.start, each.span.end, name))
        texts[each.path] = each.span.source.text
    texts = {path: edited(texts[path], each) for path, each in edits.items()}
    for other in _everywhere(project, analysis):
        then = project.tried(other.path, texts) if edits.keys() & other.files.keys() else None
        now = Counter(fault.code for fault in _errors(other.loaded))
        for fault in _errors(then) if then else ():
            now[fault.code] -= 1
            if now[fault.code] < 0:
                return f"with the name `{name}` there would be an error: {fault.code}: {fault.message}"
    return None


def _errors(loaded: Loaded) -> list[Diagnostic]:
    return [each for each in loaded.diagnostics if each.severity is Severity.ERROR]


def _of_statement(statement: tree.Statement) -> Iterator[tuple[Symbol, Span, bool]]:
    match statement:
        case tree.Let():
            yield Symbol("let", statement.name.text), statement.name.span, True
            yield from _constants(statement.value)
        case tree.Block():
            kind = statement.kind.text
            label = statement.label.text if statement.label else ""
            if statement.label and kind != "launch":
                yield Symbol(kind, label), statement.label.span, True
            if statement.purpose:
                target = "plan" if kind == "launch" else "train"
                yield Symbol(target, statement.purpose.text), statement.purpose.span, False
            if statement.place:
                yield Symbol("cluster", statement.place.text), statement.place.span, False
            if statement.body and (form := TOP.get(kind)):
                cluster = statement.place.text if statement.place else ""
                yield from _of_body(statement.body, form, f"{kind} {label}", f"cluster {cluster}")


def _of_body(
    body: tree.Body, form: Form, inside: str, cluster: str = ""
) -> Iterator[tuple[Symbol, Span, bool]]:
    """`inside` is the top-level block, `cluster` the one that a plan is for."""
    for statement in body.statements:
        match statement:
            case tree.Assignment():
                yield from _of_assignment(statement, form, inside)
            case tree.Claim():
                yield from _constants(statement.path)
                yield from _levels(statement.path, cluster)
                yield from _constants(statement.value)
            case tree.Block():
                if statement.kind.text == "link" and statement.label:
                    yield Symbol("level", statement.label.text, inside), statement.label.span, False
                if statement.over:
                    yield from _axes(statement.over, inside)
                if statement.body and (inner := form.find_block(statement.kind.text)):
                    yield from _of_body(statement.body, inner, inside, cluster)


def _levels(subject: tree.Path, cluster: str) -> Iterator[tuple[Symbol, Span, bool]]:
    """`experts.nodes` counts units of the level `node`."""
    strategy, *rest = subject.names
    if strategy.text in STRATEGIES and len(rest) == 1 and rest[0].text.endswith("s"):
        (units,) = rest
        span = units.span._replace(end=units.span.end - 1)
        yield Symbol("level", units.text[:-1], cluster), span, False


def _of_assignment(
    statement: tree.Assignment, form: Form, inside: str
) -> Iterator[tuple[Symbol, Span, bool]]:
    key, value = form.find_key(statement.path.text), statement.value
    match value:
        case tree.Path() if key and key.kind == "block":
            yield Symbol(key.name, value.text), value.span, False
        case tree.List() if key and key.kind == "axes":
            yield from _axes(value, inside)
        case tree.List() if key and key.kind == "sizes":
            kind = "axis" if key.name == "mesh" else "level"
            for item in value.items:
                if isinstance(item, tree.Pair):
                    yield Symbol(kind, item.name.text, inside), item.name.span, True
                    yield from _constants(item.value)
        case tree.Configured():
            inner = form.find_block(value.name.text)
            yield from _of_body(value.body, inner or form, inside)
        case _:
            yield from _constants(value)


def _axes(axes: tree.List, inside: str) -> Iterator[tuple[Symbol, Span, bool]]:
    for item in axes.items:
        if isinstance(item, tree.Path):
            yield Symbol("axis", item.text, inside), item.span, False


def _constants(node: tree.Expression | tree.Named | tree.Pair) -> Iterator[tuple[Symbol, Span, bool]]:
    """Words of a value, any of which may be a constant."""
    match node:
        case tree.Path():
            yield Symbol("let", node.text), node.span, False
        case tree.Negation() | tree.Named() | tree.Pair():
            yield from _constants(node.value)
        case tree.Chain():
            yield from _constants(node.first)
            for _, operand in node.rest:
                yield from _constants(operand)
        case tree.List():
            for item in node.items:
                yield from _constants(item)
        case tree.Call():
            for argument in node.arguments:
                yield from _constants(argument)
