"""What blocks became, kept for the next reading of a file: an editor reads it at every keystroke.

A block is not read again where it is the same node of the tree, and where all that it looked up (constants,
the blocks that it names) is what it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from parc.diagnostic import Diagnostic
from parc.syntax import tree

Lookup: TypeAlias = "tuple[str, str]"  # kind and name of a block; or "let" and the name of a constant
Answers: TypeAlias = "dict[Lookup, object]"


class Read(NamedTuple):
    block: tree.Block  # kept alive, so that no other node has its identity
    answers: Answers
    result: Any  # of what kind, only the reader of the block knows
    faults: tuple[Diagnostic, ...]


class Memo:
    def __init__(self) -> None:
        self.before: dict[int, Read] = {}
        self.now: dict[int, Read] = {}
        self.asked: Answers = {}

    def answer(self, kind: str, name: str, value: object) -> None:
        """Note what the block that is being read has looked up."""
        self.asked[kind, name] = value

    def recall(self, block: tree.Block, ask: Callable[[Lookup], object]) -> Read | None:
        read = self.before.get(id(block))
        if read is None or not all(_same(value, ask(lookup)) for lookup, value in read.answers.items()):
            return None
        self.now[id(block)] = read
        return read

    def keep(self, block: tree.Block, result: object, faults: list[Diagnostic]) -> None:
        self.now[id(block)] = Read(block, self.asked, result, tuple(faults))
        self.asked = {}

    def turn(self) -> None:
        """Reading is over: forget the blocks that are no more."""
        self.before, self.now = self.now, {}


def _same(one: object, other: object) -> bool:
    """Resolved facts are the same where they are one object; constants, where place and worth are equal."""
    return one is other or (not hasattr(one, "spans") and one == other)
