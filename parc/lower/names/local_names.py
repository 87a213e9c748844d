"""Which variable holds which value while a forward pass is written."""

from __future__ import annotations

import ast
import keyword
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

from torch import fx

from parc.capture.graph import list_operands
from parc.ir.expression import list_names, name
from parc.ir.runtime_names import LOCALS
from parc.ir.states import State
from parc.plan.mesh import identify_group
from parc.shard.placed import Move, Placed

Key: TypeAlias = tuple[tuple[str, State], ...]
"""The moves that a value has behind it: axes, and the states that it has on them since."""


class Scope:
    """The expression of every value so far. A variable is bound anew once nothing reads its old value.

    `order` numbers the operations of the forward pass; `last_read` says at which one a value is read last.
    """

    def __init__(
        self, placed: Placed, order: Mapping[fx.Node, int], last_read: Mapping[fx.Node, int]
    ) -> None:
        self._placed, self._order, self._last_read = placed, order, last_read
        self._trees: dict[fx.Node, ast.expr] = {}
        self._moved: dict[tuple[fx.Node, Key], ast.expr] = {}
        self._readers: dict[str, set[fx.Node]] = defaultdict(set)  # values whose expressions read a variable
        self._settled: set[fx.Node] = set()
        self._reserved: set[str] = set()

    def get_tree(self, node: fx.Node) -> ast.expr:
        """The expression that stands for a value now."""
        return self._trees[node]

    def stand_for(self, node: fx.Node, tree: ast.expr) -> None:
        """From now on the expression stands for the value, wherever it is read."""
        self._trees[node] = tree
        for variable in list_names([tree]):
            self._readers[variable].add(node)

    def bind(self, node: fx.Node, wish: str, now: int) -> str:
        """A variable for a value that operation `now` makes."""
        variable = self._choose_name(wish, now)
        self.stand_for(node, name(variable))
        return variable

    def reserve(self, wish: str) -> str:
        """A variable that is bound first of all, and never anew."""
        variable = self._choose_name(wish, -1)
        self._reserved.add(variable)
        return variable

    def find_moved(self, node: fx.Node, key: Key) -> ast.expr | None:
        """The expression of a value after some moves, if they were made before."""
        return self._moved.get((node, key))

    def bind_moved(self, node: fx.Node, tree: ast.expr, move: Move, key: Key, at: tuple[fx.Node, int]) -> str:
        """A variable for a value after a move of `tree`, which an operand (a node and its place) needs.

        It is that of the unmoved value where nothing reads that any more. Once a partial sum is reduced, the
        sum stands for the value.
        """
        now = self._order[at[0]]
        read_again = self._is_read_unmoved(node, key, at, [at[0]] if move.settles else node.users)
        if isinstance(tree, ast.Name) and not read_again and not self._is_read(tree.id, now - 1, node):
            variable = tree.id
        else:
            suffix = "all" if move.before.sharded else identify_group(move.axis)
            variable = self._choose_name(f"{_last_word(tree)}_{suffix}", now - 1)
        self._moved[node, key] = name(variable)
        self._readers[variable].add(node)
        if move.settles:
            self.stand_for(node, name(variable))
            self._settled.add(node)
        return variable

    def has_settled(self, node: fx.Node) -> bool:
        """Whether a reduced sum stands for the value."""
        return node in self._settled

    def _is_read_unmoved(
        self, node: fx.Node, key: Key, at: tuple[fx.Node, int], users: Iterable[fx.Node]
    ) -> bool:
        """Whether one of `users`, from this operation on, reads a value as it was before the moves."""
        for user in users:
            if user not in self._placed.moves or user not in self._order:
                return True
            if self._order[user] < self._order[at[0]]:
                continue
            for other, operand in enumerate(list_operands(user)):
                if operand is node and (user, other) != at:
                    moves = tuple((m.axis, m.after) for m in self._placed.moves[user][other] if m.has_effect)
                    if moves[: len(key)] != key:
                        return True
        return False

    def _choose_name(self, wish: str, now: int) -> str:
        """A variable that nothing reads after operation `now`."""
        if not wish.isidentifier():
            wish = "value"
        if keyword.iskeyword(wish) or wish in LOCALS:
            wish = f"{wish}_"
        variable, number = wish, 1
        while self._is_read(variable, now):
            number += 1
            variable = f"{wish}_{number}"
        return variable

    def _is_read(self, variable: str, after: int, besides: fx.Node | None = None) -> bool:
        """Whether an expression that reads a variable is evaluated behind operation `after`."""
        readers = self._readers.get(variable, ())
        return variable in self._reserved or any(
            self._last_read.get(node, -1) > after for node in readers if node is not besides
        )


def _last_word(tree: ast.expr) -> str:
    """The last name of an attribute path."""
    match tree:
        case ast.Name(id=word) | ast.Attribute(attr=word):
            return word
    return "value"


def find_last_reads(
    nodes: Collection[fx.Node], order: Mapping[fx.Node, int], in_place: Collection[fx.Node]
) -> dict[fx.Node, int]:
    """By which operation each value is read last; values `in_place` are evaluated where they are read.

    What leaves the forward pass is read behind all operations.
    """
    end = len(order)
    found: dict[fx.Node, int] = {}
    for node in sorted(nodes, key=lambda node: order.get(node, -1), reverse=True):
        reads = [-1]
        for user in node.users:
            if user.op == "output" or user not in order:
                reads.append(end)
            else:
                reads.append(found[user] if user in in_place else order[user])
        found[node] = max(reads)
    return found
