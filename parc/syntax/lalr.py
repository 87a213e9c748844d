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
    """What a rule of the grammar stands for. `outer_start` and `outer_end` take in brackets around it."""

    __slots__ = ("children", "data", "end", "outer_end", "outer_start", "start")

    def __init__(self, data: str, children: list[Any]) -> None:
        self.data = data
        self.children = children
        self.start = self.end = self.outer_start = self.outer_end = -1  # nowhere yet


Child: TypeAlias = "Node | Token"
Reduce: TypeAlias = Callable[["list[Child]"], "Child"]


class Table(NamedTuple):
    states: dict[int, dict[str, Any]]
    start: int
    end: int
    reductions: dict[Any, tuple[str, int, Reduce | None]]  # by rules of the grammar: name, length, what to do


@cache
def of(start: str) -> Table:
    """The table for a text that is a `start` of the grammar."""
    conf = table.parser().parse_interactive("", start=start).parser_state.parse_conf
    rules = {
        action[1]
        for actions in conf.states.values()
        for action in actions.values()
        if action[0] is not Shift and hasattr(action[1], "expansion")
    }
    reductions = {rule: (rule.origin.name, len(rule.expansion), _reduction(rule)) for rule in rules}
    return Table(conf.states, conf.start_state, conf.end_state, reductions)


class Parser:
    def __init__(self, start: str) -> None:
        self.table = of(start)
        self.states = [self.table.start]
        self.values: list[Child] = []

    def feed(self, token: Token) -> Node | None:
        """Take a token that is expected; the whole tree after the last one."""
        actions, end, reductions = self.table.states, self.table.end, self.table.reductions
        states, values, kind = self.states, self.values, token.type
        while True:
            step, target = actions[states[-1]][kind]
            if step is Shift:
                states.append(target)
                values.append(token)
                return None
            name, size, reduce = reductions[target]
            if reduce is None:
                states[-1] = actions[states[-2]][name][1]
                continue
            below = len(values) - size
            children = values[below:]
            del states[below + 1 :], values[below:]
            states.append(actions[states[-1]][name][1])
            values.append(reduce(children))
            if kind == "$END" and states[-1] == end:
                whole = values[-1]
                assert isinstance(whole, Node)
                return whole


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
        node = parts[0] if single and len(parts) == 1 else Node(data, parts)
        if isinstance(node, Node):
            _place(node, children)
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


def _place(node: Node, children: list[Child]) -> None:
    """Where it stands: from the first of the children that stand somewhere to the last."""
    for child in children:
        start = child.outer_start if isinstance(child, Node) else child.start_pos
        if start is not None and start >= 0:
            node.outer_start = start
            break
    for child in reversed(children):
        end = child.outer_end if isinstance(child, Node) else child.end_pos
        if end is not None and end >= 0:
            node.outer_end = end
            break
    if node.start < 0:
        node.start, node.end = node.outer_start, node.outer_end
