"""Caches resolved blocks from one resolution of a file to the next: editors resolve it at every keystroke.

A cached result is valid if the block is the same node of the tree and everything that it looked up is
unchanged: constants, and the blocks that it names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from parc.diagnostic import Diagnostic
from parc.named_tuple import NamedTuple
from parc.syntax import tree

Lookup: TypeAlias = "tuple[str, str]"  # kind and name of a block; or "let" and the name of a constant
Answers: TypeAlias = "dict[Lookup, object]"


class Entry(NamedTuple):
    block: tree.Block  # kept alive, so that no other node gets its id
    answers: Answers
    result: Any  # the resolved block; its type depends on the kind
    faults: tuple[Diagnostic, ...]


class Memo:
    """The entries of the previous resolution, and those of the current one."""

    def __init__(self) -> None:
        self.previous: dict[int, Entry] = {}
        self.current: dict[int, Entry] = {}
        self.answers: Answers = {}

    def fork(self) -> Memo:
        """Another memo, which continues from the same resolution."""
        other = Memo()
        other.previous = dict(self.previous)
        return other

    def record(self, kind: str, name: str, value: object) -> None:
        """Record a lookup of the block that is being resolved."""
        self.answers[kind, name] = value

    def recall(self, block: tree.Block, ask: Callable[[Lookup], object]) -> Entry | None:
        """The entry of a block, if it is valid; `ask` answers a lookup now."""
        entry = self.previous.get(id(block))
        if entry is None or not all(_is_same(value, ask(lookup)) for lookup, value in entry.answers.items()):
            return None
        self.current[id(block)] = entry
        return entry

    def store(self, block: tree.Block, result: object, faults: list[Diagnostic]) -> None:
        """Add the entry of a block, with the lookups recorded since the last one."""
        self.current[id(block)] = Entry(block, self.answers, result, tuple(faults))
        self.answers = {}

    def finish(self) -> None:
        """End a resolution: drop the entries of blocks that no longer exist."""
        self.previous, self.current = self.current, {}


def _is_same(one: object, other: object) -> bool:
    """Resolved blocks are compared by identity; constants by span and value."""
    return one is other or (not hasattr(one, "spans") and one == other)
