"""An item of a completion list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

ItemKind: TypeAlias = Literal["block", "key", "value", "name", "unit", "file", "keyword", "figure"]


@dataclass(frozen=True)
class Item:
    """`insert` replaces the characters from `start` to `end`; in a snippet, `$1` is where the cursor goes."""

    label: str
    kind: ItemKind
    insert: str
    start: int = 0
    end: int = 0
    detail: str = ""
    doc: str = ""
    order: int = 0  # lower ones come first
    snippet: bool = False
