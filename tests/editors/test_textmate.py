"""The scopes of the TextMate grammar agree with the syntax tree, for every word of every plan there is."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import TypeAlias

import pytest

from benchmarks.texts import grammatical
from parc.diagnostic import has_errors
from parc.source import Source, Span
from parc.syntax import tree
from parc.syntax.parse import parse
from parc.syntax.scan import scan
from tests.editors.test_tree_sitter import PLANS

EXTENSION = Path(__file__).parents[2] / "editors" / "vscode"
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(
    NODE is None or not (EXTENSION / "node_modules" / "vscode-textmate").is_dir(),
    reason="vscode-textmate is not installed: npm ci --prefix editors/vscode",
)
Scopes: TypeAlias = list[list[str]]  # of each character of a text

OF_TOKENS = {
    "STRING": "string.quoted",
    "RELATION": "keyword.operator.comparison",
    "EQUAL": "keyword.operator.assignment",
    "PLUS": "keyword.operator.arithmetic",
    "MINUS": "keyword.operator.arithmetic",
    "TIMES": "keyword.operator.arithmetic",
    "DIVIDE": "keyword.operator.arithmetic",
    "LBRACE": "punctuation.section",
    "RBRACE": "punctuation.section",
    "LSQB": "punctuation.section",
    "RSQB": "punctuation.section",
    "LPAR": "punctuation.section",
    "RPAR": "punctuation.section",
}


def find_scopes(texts: list[str]) -> list[Scopes]:
    done = subprocess.run(
        [str(NODE), str(EXTENSION / "test" / "scopes.mjs")],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return [_map_characters(text, found) for text, found in zip(texts, json.loads(done.stdout), strict=True)]


def _map_characters(text: str, tokens: list[tuple[int, int, int, list[str]]]) -> Scopes:
    starts = Source("", text).line_starts
    found: Scopes = [[] for _ in text]
    for line, start, end, names in tokens:
        for character in range(starts[line] + start, min(starts[line] + end, len(text))):
            found[character] = names
    return found


def list_expected(node: object) -> Iterator[tuple[Span, str]]:
    """The spans of words in a syntax tree, with their expected scopes."""
    match node:
        case tree.Block():
            yield node.kind.span, "storage.type"
            yield from (
                (name.span, "entity.name.type") for name in (node.label, node.purpose, node.place) if name
            )
        case tree.Let():
            yield node.name.span, "variable.other.constant"
        case tree.Assignment() | tree.Claim():
            yield node.path.span, "variable.other.property"
            yield from list_expected(node.value)
            return
        case tree.Named():
            yield node.name.span, "variable.other.property"
        case tree.Pair():
            yield node.name.span, "variable.other.member"
        case tree.Call() | tree.Configured():
            yield node.name.span, "entity.name.function"
        case tree.Number(unit=tree.Name() as unit):
            yield unit.span, "keyword.other.unit"
            yield Span(node.span.source, node.span.start, node.span.start + 1), "constant.numeric"
        case tree.Number():
            yield node.span, "constant.numeric"
        case tree.Path(names=(tree.Name(text="true" | "false"),)):
            yield node.span, "constant.language"
    for part in node if isinstance(node, tuple) else ():
        if not isinstance(part, Source):
            yield from list_expected(part)


def list_name_starts(node: object) -> Iterator[int]:
    """Where names begin: keywords are names there."""
    if isinstance(node, tree.Name):
        yield node.span.start
    for part in node if isinstance(node, tuple) else ():
        if not isinstance(part, Source):
            yield from list_name_starts(part)


def list_differences(text: str, found: Scopes) -> list[str]:
    source = Source("plan.parc", text)
    file, _ = parse(source)
    places, named = [*list_expected(file.statements)], {*list_name_starts(file.statements)}
    for token in scan(source, []):
        start, end = token.start_pos or 0, token.end_pos or 0
        if name := OF_TOKENS.get(token.type):
            places.append((source.make_span(start, end), name))
        elif token.type in ("LET", "IMPORT", "FOR", "ON", "OVER") and start not in named:
            places.append((source.make_span(start, end), "keyword"))
    return [
        f"line {span.line}: `{span.text}` is {found[at]}, not {name}"
        for span, name in places
        for at in range(span.start, span.end)
        if not text[at].isspace() and not any(scope.startswith(name) for scope in found[at])
    ]


def test_every_word_of_every_plan_has_its_scope() -> None:
    sound = {name: source.text for name, source in PLANS.items() if not has_errors(parse(source)[1])}
    wrong = [
        f"{name}, {fault}"
        for (name, text), found in zip(sound.items(), find_scopes([*sound.values()]), strict=True)
        for fault in list_differences(text, found)
    ]
    assert not wrong, "\n".join(wrong[:20])


def test_every_word_of_texts_made_of_the_grammar_has_its_scope() -> None:
    texts = [grammatical(Random(seed)) for seed in range(300)]
    wrong = [
        f"{fault} in {text.splitlines()[int(fault.split(':')[0][5:]) - 1]!r}"
        for text, found in zip(texts, find_scopes(texts), strict=True)
        for fault in list_differences(text, found)
    ]
    assert not wrong, "\n".join(wrong[:20])


def test_comments_and_escapes() -> None:
    text = 'let x = "# no \\" comment" # a comment = 1'
    (found,) = find_scopes([text])

    assert "comment.line.number-sign.parc" in found[text.index("a comment")]
    assert "comment.line.number-sign.parc" not in found[text.index("no")]
    assert "constant.character.escape.parc" in found[text.index('\\"')]
