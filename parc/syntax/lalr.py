"""Runs lark's parse table, one token after the other, with a stack that recovery may change.

Lark's own reductions build a tree whose positions cost more than all the rest of reading; these do what they
do of it that is used here, in a third of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, TypeAlias

from parc.syntax import table
from parc.syntax.token import Token


class Node:
    """What a rule of the grammar stands for. `start_pos` and `end_pos`, named as those of tokens, take in
    brackets around it."""

    __slots__ = ("children", "data", "end", "end_pos", "start", "start_pos")

    def __init__(self, data: str, children: list[Any], start: int, end: int) -> None:
        self.data = data
        self.children = children
        self.start = self.start_pos = start  # -1: nowhere yet
        self.end = self.end_pos = end


Child: TypeAlias = "Node | Token"
Reduce: TypeAlias = Callable[["list[Child]"], "Child"]


class Reduction(NamedTuple):
    name: str  # of the rule of the grammar
    size: int  # how many symbols it stands for
    reduce: Reduce | None  # None: the only one stays


class Table(NamedTuple):
    states: dict[int, dict[str, int]]  # by kinds of symbols the next state, or ~ the number of a reduction
    start: int
    end: int
    reductions: tuple[Reduction, ...]


@cache
def of(start: str) -> Table:
    """The table for a text that is a `start` of the grammar."""
    tables = table.read()
    reductions = tuple(Reduction(rule.name, rule.size, _reduction(rule)) for rule in tables.rules)
    return Table(tables.states, *tables.starts[start], reductions)


class Parser:
    """`whole` is the tree, after the last token."""

    def __init__(self, start: str) -> None:
        self.table = of(start)
        self.states = [self.table.start]
        self.values: list[Child] = []
        self.whole: Node | None = None

    def feed(self, token: Token) -> bool:
        """Take a token; False: it is not expected, and the stack is as it was."""
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
                whole = values[-1]
                assert isinstance(whole, Node)
                self.whole = whole
                return True
            action = table[following].get(kind)
        states.append(action)
        values.append(token)
        return True


def _reduction(rule: table.Rule) -> Reduce | None:
    """What to do with the children of a rule. None: the only one stays."""
    data, kept, inlined, single = rule.data, rule.kept, rule.inlined, rule.single
    whole = len(kept) == rule.size and not inlined
    if single and whole and rule.size == 1:
        return None

    def reduce(children: list[Child]) -> Child:
        parts = children if whole else _parts(children, kept, inlined)
        start, end = (children[0].start_pos, children[-1].end_pos) if children else (-1, -1)
        if start < 0 or end < 0:
            start, end = _extent(children)
        if not (single and len(parts) == 1):
            return Node(data, parts, start, end)
        node = parts[0]
        if isinstance(node, Node) and start >= 0:
            node.start_pos, node.end_pos = start, end
            if node.start < 0:
                node.start, node.end = start, end
        return node

    return reduce


def _parts(children: list[Child], kept: tuple[int, ...], inlined: tuple[int, ...]) -> list[Child]:
    found: list[Child] = []
    for at in kept:
        child = children[at]
        if at in inlined:
            assert isinstance(child, Node)
            found += child.children
        else:
            found.append(child)
    return found


def _extent(children: list[Child]) -> tuple[int, int]:
    """From where the first of the children that stand somewhere begins to where the last of them ends."""
    start = next((each.start_pos for each in children if each.start_pos >= 0), -1)
    return start, next((each.end_pos for each in reversed(children) if each.end_pos >= 0), -1)
