"""Which name holds which value while a forward pass is written."""

from __future__ import annotations

import keyword
from collections.abc import Sequence

from torch import fx

from parc.capture.graph import is_item, operands_of
from parc.ir.runtime_names import LOCALS
from parc.ir.states import Kind, State
from parc.lower.expression import Text
from parc.lower.source_names import Statements
from parc.shard.placed import Move, Placed, issues

Key = tuple[tuple[str, State], ...]


class Scope:
    """Names come from the user's code. A name is taken again once nothing needs its old value any more."""

    def __init__(self, nodes: Sequence[fx.Node], placed: Placed, statements: Statements) -> None:
        self.order = {node: place for place, node in enumerate(nodes)}
        self.order |= {user: self.order[node] for node in nodes for user in node.users if is_item(user)}
        self.moved: dict[tuple[fx.Node, Key], Text] = {}
        self._placed = placed
        self._statements = statements
        self._texts: dict[fx.Node, Text] = {}
        self._holds: dict[str, fx.Node] = {}
        self._settled: set[fx.Node] = set()

    def bind(self, node: fx.Node, name: str) -> None:
        """A name holds a value."""
        self._texts[node] = Text(name)
        self._holds[name] = node

    def refer(self, node: fx.Node, text: str) -> None:
        """An expression that can be written again and again stands for a value."""
        self._texts[node] = Text(text)

    def inline(self, node: fx.Node, text: Text) -> None:
        """A value is computed where it is used."""
        self._texts[node] = text

    def settle(self, node: fx.Node, text: Text) -> None:
        """From now on the moved value stands for the value."""
        self._texts[node] = text
        self._settled.add(node)

    def has_settled(self, node: fx.Node) -> bool:
        """Whether a moved value stands for the value."""
        return node in self._settled

    def text(self, node: fx.Node) -> Text:
        """What to write for a value now."""
        return self._texts[node]

    def name(self, node: fx.Node, wish: str) -> str:
        """A name for a new value."""
        name = self._free(wish, node)
        self.bind(node, name)
        return name

    def moved_name(self, node: fx.Node, move: Move, key: Key, text: Text) -> str:
        """A moved value keeps its name where the unmoved one is not needed again."""
        name = text.text
        settles = move.before.partial and move.after.kind is not Kind.PARTIAL
        if name.isidentifier() and (settles or not self._needs_unmoved(node, key)):
            return name
        wish = name if name.isidentifier() else name.split(".")[1] if name.startswith("self.") else "value"
        fresh = self._free(f"{wish}_{'all' if move.before.sharded else move.axis}", node)
        self._holds[fresh] = node
        return fresh

    def _needs_unmoved(self, node: fx.Node, key: Key) -> bool:
        """Whether a later use wants the value as it was."""
        for user in node.users:
            if user.op == "output" or user not in self.order:
                return True
            if user not in self._placed.moves:
                return True
            for place, operand in enumerate(operands_of(user)):
                if operand is node:
                    moves = tuple((m.axis, m.after) for m in self._placed.moves[user][place] if issues(m))
                    if moves[: len(key)] != key:
                        return True
        return False

    def _free(self, wish: str, node: fx.Node) -> str:
        if not wish.isidentifier():  # the number of a module in a list
            wish = "value"
        if keyword.iskeyword(wish) or wish in LOCALS:
            wish = f"{wish}_"
        name, number = wish, 1
        while name in self._holds and self._live(self._holds[name], node):
            number += 1
            name = f"{wish}_{number}"
        return name

    def _live(self, held: fx.Node, now: fx.Node) -> bool:
        """Whether a held value is used after `now`."""
        if held is now:
            return False
        here = self.order.get(now, -1)
        return any(self._last(user) > here for user in held.users)

    def _last(self, user: fx.Node) -> int:
        """When a use happens: at once; where the user may be inlined, or is an item, when it is used."""
        if user.op == "output" or user not in self.order:
            return 1 << 30
        later = user.users if self._waits(user) else ()
        return max([self.order[user], *(self._last(u) for u in later)])

    def _waits(self, user: fx.Node) -> bool:
        """Whether a use reads the value only when it is itself read: inlined, or another's name for it."""
        if user in self._texts:
            text = self._texts[user].text
            return not text.isidentifier() or self._holds.get(text) is not user
        return len(user.users) == 1 and self._statements.together(user, next(iter(user.users)))
