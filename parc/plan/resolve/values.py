"""The values that expressions evaluate to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from parc.record import dataclass
from parc.syntax import units
from parc.syntax.units import Dimension


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number in SI units."""

    number: int | float
    dimension: Dimension = units.NUMBER


@dataclass(frozen=True, slots=True)
class Word:
    """A bare word that is not the name of a constant: `optimizer` in `shard = optimizer`."""

    text: str


Value: TypeAlias = "Quantity | Word | str | bool | tuple[Value, ...]"


def iterate_leaves(value: Value) -> Iterator[Value]:
    """The values in nested lists, in order."""
    if isinstance(value, tuple):
        for item in value:
            yield from iterate_leaves(item)
    else:
        yield value


def describe_value(value: Value) -> str:
    """What kind of value it is, for the label "this is ..":."""
    match value:
        case bool():
            return f"`{str(value).lower()}`"
        case Quantity():
            return units.describe_dimension(value.dimension).split(",")[0]
        case Word():
            return f"the word `{value.text}`"
        case str():
            return "a text"
        case _:
            return "a list"
