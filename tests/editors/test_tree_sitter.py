"""The grammar for tree-sitter agrees with the grammar of the language on every plan that there is.

It is run as an LALR(1) grammar, which is what tree-sitter makes of it, by Lark; `tree-sitter generate` itself
comes with no package registry.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import lark
import pytest

from benchmarks.texts import grammatical
from parc.diagnostic import has_errors
from parc.plan.imports import decode
from parc.source import Source
from parc.syntax import tree
from parc.syntax.parse import parse
from tests.editors.tree_sitter import build_parser

ROOT = Path(__file__).parents[2]
PLANS = {
    file.stem: source
    for folder in ("examples", "tests", "parc")
    for file in sorted((ROOT / folder).rglob("*.parc"))
    if isinstance(source := decode(file.name, file.read_bytes()), Source)
}
CAPS = ("P005", "P006")  # errors of size, which syntax does not decide
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed: apt-get install nodejs")

KINDS = {
    tree.Import: "import",
    tree.Let: "let",
    tree.Assignment: "assignment",
    tree.Claim: "claim",
    tree.Block: "block",
    tree.Body: "body",
    tree.Configured: "configured",
    tree.Call: "call",
    tree.Named: "named",
    tree.List: "list",
    tree.Pair: "pair",
    tree.Number: "quantity",
    tree.String: "string",
    tree.Negation: "negation",
}


def list_nodes(node: object) -> Iterator[tuple[str, int, int]]:
    """Kind and place of every node of the syntax tree whose kind both grammars have."""
    if kind := KINDS.get(type(node)):  # type: ignore[arg-type]  # others are no key
        yield kind, node.span.start, node.span.end  # type: ignore[attr-defined]  # nodes all have one
    if isinstance(node, tuple):
        for part in node:
            if not isinstance(part, Source):
                yield from list_nodes(part)


def list_tree_sitter_nodes(node: lark.Tree[lark.Token]) -> Iterator[tuple[str, int, int]]:
    for each in node.iter_subtrees():
        if each.data in KINDS.values():
            yield each.data, each.meta.start_pos, each.meta.end_pos


def assert_same_tree(text: str, file: tree.File) -> None:
    assert NODE is not None
    parsed = build_parser(NODE).parse(text)
    assert Counter(list_tree_sitter_nodes(parsed)) == Counter(list_nodes(file.statements))


@pytest.mark.parametrize("source", PLANS.values(), ids=PLANS)
def test_a_plan_has_the_same_tree(source: Source) -> None:
    assert NODE is not None
    file, faults = parse(source)
    if faults and faults[0].code in CAPS:
        return
    if has_errors(faults):
        with pytest.raises(lark.UnexpectedInput):
            build_parser(NODE).parse(source.text)
        return
    assert_same_tree(source.text, file)


@pytest.mark.parametrize("seed", range(300))
def test_a_text_made_of_the_grammar_has_the_same_tree(seed: int) -> None:
    assert NODE is not None
    source = Source("plan.parc", grammatical(Random(seed)))
    file, faults = parse(source)
    if not has_errors(faults):  # except a number that is too long
        assert_same_tree(source.text, file)


WRONG = [
    "x = ",
    "x = --1",
    "x = 1 y = 2",
    "x = [1\n2]",
    "x = [a: b: 1]",
    "x = f(1 2)",
    "x = (1, 2)",
    "let x.y = 1",
    "import x",
    "plan p for {\n}",
    "plan {\n} }",
    "data over\n",
    "data over tp {\n}",
    "x = a..b",
    'x = "open',
    "x == ",
]
RIGHT = [
    "a.b.c = 1",
    "for = 1, on = over",
    "x = f()",
    "x = f(\n1,\na = 2\n)",
    "x = (\n1\n) * -(2)",
    "a <= 1 GB/s",
    "p over [a, b: 1]",
    "p over [] {\n}\n\n# end",
]


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_wrong_for_both(text: str) -> None:
    assert NODE is not None
    assert has_errors(parse(Source("plan.parc", text))[1])
    with pytest.raises(lark.UnexpectedInput):
        build_parser(NODE).parse(text)


@pytest.mark.parametrize("text", RIGHT)
def test_what_is_rare_is_right_for_both(text: str) -> None:
    assert NODE is not None
    file, faults = parse(Source("plan.parc", text))
    assert not faults
    assert_same_tree(text, file)
