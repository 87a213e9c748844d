"""The syntax tree of a plan file. Every node keeps its span; nothing here knows what a key means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from parc.source import Source, Span


@dataclass(frozen=True, slots=True)
class Node:
    span: Span


@dataclass(frozen=True, slots=True)
class Missing(Node):
    """Stands where a value should have been: the fault has been told already."""


@dataclass(frozen=True, slots=True)
class Name(Node):
    text: str


@dataclass(frozen=True, slots=True)
class Number(Node):
    """`64 GB`"""

    value: int | float
    unit: Name | None


@dataclass(frozen=True, slots=True)
class String(Node):
    value: str


@dataclass(frozen=True, slots=True)
class Path(Node):
    """`memory.peak`, or a single bare word."""

    names: tuple[Name, ...]

    @property
    def text(self) -> str:
        return ".".join(name.text for name in self.names)


@dataclass(frozen=True, slots=True)
class Call(Node):
    """`tokens("data.bin", type = "uint16")`"""

    name: Name
    arguments: tuple[Expression | Named, ...]


@dataclass(frozen=True, slots=True)
class Named(Node):
    """`type = "uint16"` among the arguments of a call."""

    name: Name
    value: Expression


@dataclass(frozen=True, slots=True)
class List(Node):
    items: tuple[Expression | Pair, ...]


@dataclass(frozen=True, slots=True)
class Pair(Node):
    """`ep: 8` in a list."""

    name: Name
    value: Expression


@dataclass(frozen=True, slots=True)
class Negation(Node):
    value: Expression


@dataclass(frozen=True, slots=True)
class Chain(Node):
    """`a * b / c`: operators of one precedence, left to right. Flat, so that a long one is not a deep one."""

    first: Expression
    rest: tuple[tuple[str, Expression], ...]


@dataclass(frozen=True, slots=True)
class Configured(Node):
    """`adamw { lr = 3e-4 }` as a value."""

    name: Name
    body: Body


Expression: TypeAlias = "Missing | Number | String | Path | Call | List | Negation | Chain | Configured"


@dataclass(frozen=True, slots=True)
class Import(Node):
    path: String | Missing


@dataclass(frozen=True, slots=True)
class Let(Node):
    name: Name
    value: Expression


@dataclass(frozen=True, slots=True)
class Assignment(Node):
    path: Path
    value: Expression


@dataclass(frozen=True, slots=True)
class Claim(Node):
    """`memory.peak <= 90%`"""

    path: Path
    relation: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Block(Node):
    """`plan wide for first on farm { .. }`, `data over [ep]`"""

    kind: Name
    label: Name | None = None
    purpose: Name | None = None  # after `for`
    place: Name | None = None  # after `on`
    over: List | None = None
    body: Body | None = None


Statement: TypeAlias = "Import | Let | Assignment | Claim | Block"


@dataclass(frozen=True, slots=True)
class Body(Node):
    """What stands between braces. `damaged`: a faulty statement was dropped, so what is missing proves nothing."""

    statements: tuple[Statement, ...]
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class File:
    source: Source
    statements: tuple[Statement, ...]
    damaged: bool = False
