"""The syntax tree of a plan file. Every node keeps its span; the meaning of keys is left to the resolver."""

from __future__ import annotations

from typing import TypeAlias

from parc.named_tuple import NamedTuple
from parc.source import Source, Span


class Missing(NamedTuple):
    """In the place of a missing value, whose fault was reported."""

    span: Span


class Name(NamedTuple):
    span: Span
    text: str


class Number(NamedTuple):
    """`64 GB`"""

    span: Span
    value: int | float
    unit: Name | None


class String(NamedTuple):
    span: Span
    value: str


class Path(NamedTuple):
    """`memory.peak`, or a single bare word."""

    span: Span
    names: tuple[Name, ...]

    @property
    def text(self) -> str:
        return ".".join(name.text for name in self.names)


class Call(NamedTuple):
    """`tokens("data.bin", type = uint16)`"""

    span: Span
    name: Name
    arguments: tuple[Expression | Named, ...]


class Named(NamedTuple):
    """`type = uint16` in the arguments of a call."""

    span: Span
    name: Name
    value: Expression


class List(NamedTuple):
    span: Span
    items: tuple[Expression | Pair, ...]


class Pair(NamedTuple):
    """`ep: 8` in a list."""

    span: Span
    name: Name
    value: Expression


class Negation(NamedTuple):
    span: Span
    value: Expression


class Chain(NamedTuple):
    """`a * b / c`: operators of one precedence from left to right. Flat, so that long ones are not deep."""

    span: Span
    first: Expression
    rest: tuple[tuple[str, Expression], ...]


class Configured(NamedTuple):
    """`adamw { lr = 3e-4 }` as a value."""

    span: Span
    name: Name
    body: Body


Expression: TypeAlias = "Missing | Number | String | Path | Call | List | Negation | Chain | Configured"


class Import(NamedTuple):
    span: Span
    path: String | Missing


class Let(NamedTuple):
    span: Span
    name: Name
    value: Expression


class Assignment(NamedTuple):
    span: Span
    path: Path
    value: Expression


class Claim(NamedTuple):
    """`memory.peak <= 90%`"""

    span: Span
    path: Path
    relation: str
    value: Expression


class Block(NamedTuple):
    """`plan wide for first on farm { .. }`, `data over [ep]`"""

    span: Span
    kind: Name
    label: Name | None = None
    purpose: Name | None = None  # after `for`
    place: Name | None = None  # after `on`
    over: List | None = None
    body: Body | None = None


Statement: TypeAlias = "Import | Let | Assignment | Claim | Block"
Node: TypeAlias = "Expression | Statement | Name | Named | Pair"


class Body(NamedTuple):
    """The statements between braces. `damaged`: some were dropped, so nothing follows from missing ones."""

    span: Span
    statements: tuple[Statement, ...]
    damaged: bool = False


class File(NamedTuple):
    """The statements of a text. `unread`: it exceeds a limit of size, and nothing of it was parsed."""

    source: Source
    statements: tuple[Statement, ...]
    damaged: bool = False
    unread: bool = False
