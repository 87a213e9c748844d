"""An LALR(1) parser that runs the tables of lark token by token, with a stack that recovery may change.

The reductions of lark compute positions that cost more than the rest of parsing. The ones here build the same
tree with only what is needed, in a third of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

from parc.named_tuple import NamedTuple
from parc.syntax import table
from parc.syntax.grammar import load_tables
from parc.syntax.token import Token


class Node:
    """A node of the parse tree. `start_pos` and `end_pos`, named as in tokens, include brackets around it."""

    __slots__ = ("children", "end", "end_pos", "rule", "start", "start_pos")

    def __init__(self, rule: str, children: list[Any], start: int, end: int) -> None:
        self.rule = rule
        self.children = children
        self.start = self.start_pos = start  # -1: unknown so far
        self.end = self.end_pos = end


Child: TypeAlias = "Node | Token"
Reduce: TypeAlias = Callable[["list[Child]"], "Child"]


class Reduction(NamedTuple):
    name: str  # of the rule in the grammar
    size: int  # number of symbols that it replaces
    reduce: Reduce | None  # None: its only symbol stays


class Table(NamedTuple):
    states: dict[int, dict[str, int]]  # by kind of symbol: the next state, or ~ the index of a reduction
    start: int
    end: int
    reductions: tuple[Reduction, ...]


@cache
def load_table(start: str) -> Table:
    """The table with the start symbol `start` of the grammar."""
    tables = load_tables()
    reductions = tuple(Reduction(rule.name, rule.size, _build_reduction(rule)) for rule in tables.rules)
    return Table(tables.states, *tables.starts[start], reductions)


class Parser:
    """Parses tokens; `result` is the tree, after the last token."""

    def __init__(self, start: str) -> None:
        self.table = load_table(start)
        self.states = [self.table.start]
        self.values: list[Child] = []
        self.result: Node | None = None

    def feed(self, token: Token) -> bool:
        """Consume a token. False: it is not expected, and the stack is unchanged."""
        table, _, end, reductions = self.table
        states, values, kind = self.states, self.values, token.type
        action = table[states[-1]].get(kind)
        before = None
        while action is None or action < 0:
            if action is None:
                if before:
                    states[:], values[:] = before
                return False
            if before is None:
                before = states[:], values[:]
            name, size, reduce = reductions[~action]
            if reduce is None:
                states.pop()
            else:
                below = len(values) - size
                children = values[below:]
                del states[below + 1 :], values[below:]
                values.append(reduce(children))
            following = table[states[-1]][name]
            states.append(following)
            if kind == "$END" and following == end:
                result = values[-1]
                assert isinstance(result, Node)
                self.result = result
                return True
            action = table[following].get(kind)
        states.append(action)
        values.append(token)
        return True


def _build_reduction(rule: table.Rule) -> Reduce | None:
    """The function that reduces the children of a rule; None if the only child stays."""
    name, kept, inlined, single = rule.data, rule.kept, rule.inlined, rule.single
    whole = len(kept) == rule.size and not inlined
    if single and whole and rule.size == 1:
        return None

    def reduce(children: list[Child]) -> Child:
        parts = children if whole else _select_children(children, kept, inlined)
        start, end = (children[0].start_pos, children[-1].end_pos) if children else (-1, -1)
        if start < 0 or end < 0:
            start, end = _find_extent(children)
        if not (single and len(parts) == 1):
            return Node(name, parts, start, end)
        node = parts[0]
        if isinstance(node, Node) and start >= 0:
            node.start_pos, node.end_pos = start, end
            if node.start < 0:
                node.start, node.end = start, end
        return node

    return reduce


def _select_children(children: list[Child], kept: tuple[int, ...], inlined: tuple[int, ...]) -> list[Child]:
    found: list[Child] = []
    for at in kept:
        child = children[at]
        if at in inlined:
            assert isinstance(child, Node)
            found += child.children
        else:
            found.append(child)
    return found


def _find_extent(children: list[Child]) -> tuple[int, int]:
    """From the start of the first child that has a position to the end of the last one."""
    start = next((each.start_pos for each in children if each.start_pos >= 0), -1)
    return start, next((each.end_pos for each in reversed(children) if each.end_pos >= 0), -1)
