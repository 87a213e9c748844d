"""Runs lark's parse table, one token after the other, with a stack that recovery may change.

Lark's own reductions build a tree whose positions cost more than all the rest of reading; these do what they
do of it that is used here, in a third of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, TypeAlias

from lark import Token
from lark.parsers.lalr_analysis import Shift

from parc.syntax import table


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


class States(dict[int, dict[str, "int | Reduction"]]):
    """What to do in a state, by kinds of symbols: go to another one, or reduce.

    Made of lark's table as states are met: its own names are tokens, which are slow to compare.
    """

    def __init__(self, table: dict[int, dict[str, Any]]) -> None:
        self.table = table
        self.reductions: dict[Any, Reduction] = {}

    def __missing__(self, state: int) -> dict[str, int | Reduction]:
        self[state] = found = {
            str(kind): target if step is Shift else self._reduction(target)
            for kind, (step, target) in self.table[state].items()
        }
        return found

    def _reduction(self, rule: Any) -> Reduction:
        if rule not in self.reductions:
            name = str(rule.origin.name)
            self.reductions[rule] = Reduction(name, len(rule.expansion), _reduction(rule))
        return self.reductions[rule]


class Table(NamedTuple):
    states: States
    start: int
    end: int


@cache
def of(start: str) -> Table:
    """The table for a text that is a `start` of the grammar."""
    conf = table.parser().parse_interactive("", start=start).parser_state.parse_conf
    return Table(States(conf.states), conf.start_state, conf.end_state)


class Parser:
    """`whole` is the tree, after the last token."""

    def __init__(self, start: str) -> None:
        self.table = of(start)
        self.states = [self.table.start]
        self.values: list[Child] = []
        self.whole: Node | None = None

    def feed(self, token: Token) -> bool:
        """Take a token; False: it is not expected, and the stack is as it was."""
        table, end = self.table.states, self.table.end
        states, values, kind = self.states, self.values, token.type
        action = table[states[-1]].get(kind)
        before = None if isinstance(action, int) else (states[:], values[:])
        while not isinstance(action, int):
            if action is None:
                assert before
                states[:], values[:] = before
                return False
            name, size, reduce = action
            if reduce is None:
                states.pop()
            else:
                below = len(values) - size
                children = values[below:]
                del states[below + 1 :], values[below:]
                values.append(reduce(children))
            following = table[states[-1]][name]
            assert isinstance(following, int)
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


def _reduction(rule: Any) -> Reduce | None:
    """What to do with the children of a rule, as lark reads its options. None: the only one stays."""
    symbols, all_tokens = rule.expansion, rule.options.keep_all_tokens
    kept = [at for at, each in enumerate(symbols) if all_tokens or not (each.is_term and each.filter_out)]
    inlined = {at for at in kept if not symbols[at].is_term and symbols[at].name.startswith("_")}
    whole = len(kept) == len(symbols) and not inlined
    single = rule.options.expand1 and not rule.alias
    data = str(rule.alias or rule.origin.name)
    if single and whole and len(symbols) == 1:
        return None

    def reduce(children: list[Child]) -> Child:
        parts = children if whole else _parts(children, kept, inlined)
        start, end = (children[0].start_pos, children[-1].end_pos) if children else (-1, -1)
        if start is None or start < 0 or end is None or end < 0:
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


def _parts(children: list[Child], kept: list[int], inlined: set[int]) -> list[Child]:
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
    start = end = -1
    for child in children:
        if (place := child.start_pos) is not None and place >= 0:
            start = place
            break
    for child in reversed(children):
        if (place := child.end_pos) is not None and place >= 0:
            end = place
            break
    return start, end
