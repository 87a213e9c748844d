"""Our reductions against lark's own, on every kind of text."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from lark import Token as LarkToken
from lark import Tree
from lark.exceptions import LarkError

from benchmarks.texts import EXAMPLES, generate, grammatical
from parc.source import Source
from parc.syntax import table
from parc.syntax.lalr import Node, Parser
from parc.syntax.lark_tables import make_parser
from parc.syntax.scan import create_end_token, lex
from parc.syntax.token import Token


def parse_ours(text: str) -> Any:
    parser = Parser("file")
    for token in [*lex(Source("x", text)), create_end_token(len(text))]:
        if not parser.feed(token):
            raise KeyError(token)
    assert parser.result
    return _simplify(parser.result)


def _simplify(node: Node | Token) -> Any:
    if isinstance(node, Token):
        return node.type, str(node), node.start_pos
    return node.rule, node.start, node.end, [_simplify(each) for each in node.children]


LARK = make_parser(table.read_grammar())


def parse_with_lark(text: str) -> Any:
    return _simplify_tree(LARK.parse(text, start="file"))


def _simplify_tree(tree: Tree[Any] | LarkToken) -> Any:
    if isinstance(tree, LarkToken):
        return tree.type, str(tree), tree.start_pos
    start, end = getattr(tree.meta, "start_pos", -1), getattr(tree.meta, "end_pos", -1)
    return str(tree.data), start, end, [_simplify_tree(each) for each in tree.children]


@pytest.mark.parametrize("text", [*EXAMPLES, "", "\n", "# c", "let a = ((1))", "let a = -(\n(b))", "f { }"])
def test_the_trees_are_those_of_lark(text: str) -> None:
    assert parse_ours(text) == parse_with_lark(text)


def test_so_are_those_of_generated_texts() -> None:
    for seed in range(150):
        text = grammatical(Random(seed))
        assert parse_ours(text) == parse_with_lark(text), seed


def test_what_lark_refuses_is_refused() -> None:
    refused = 0
    for seed in range(300):
        text = generate(seed)
        try:
            expected = parse_with_lark(text)
        except LarkError:
            with pytest.raises(KeyError):
                parse_ours(text)
            refused += 1
        else:
            assert parse_ours(Source("x", text).text) == expected
    assert 50 < refused < 300
