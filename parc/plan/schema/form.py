"""Descriptions of blocks: their heads, keys and sub-blocks, for the resolver and for editors."""

from __future__ import annotations

from typing import Literal, TypeAlias

from parc.named_tuple import NamedTuple
from parc.syntax import units
from parc.syntax.units import Dimension

ValueKind: TypeAlias = Literal[
    "count",  # a whole number
    "real",  # a plain number
    "flag",  # `true` or `false`
    "quantity",  # a number in a unit of `dimension`
    "text",
    "texts",  # a text or a list of them
    "choice",  # one of `choices`
    "counts",  # a list of whole numbers
    "sizes",  # `[ep: 8, tp: 4]`
    "axes",  # `[ep, tp]`: axes of the mesh
    "kinds",  # `[norms, "head.*"]`: any of `choices`, and texts
    "block",  # the name of a top-level block; its kind is the name of the key
    "call",  # one of `choices`, with arguments
    "configured",  # one of `choices`, with settings that the form of that name in `blocks` describes
]

WORDS: dict[ValueKind, str] = {
    "count": "a whole number",
    "real": "a number",
    "flag": "`true` or `false`",
    "text": "a text",
    "texts": "a text or a list of texts",
    "counts": "a list of whole numbers",
    "sizes": "names and sizes, outermost first",
    "axes": "a list of axes",
    "block": "the name of a block",
}


class Key(NamedTuple):
    name: str
    kind: ValueKind
    doc: str
    choices: tuple[str, ...] = ()
    dimension: Dimension = units.NUMBER
    needed: bool = False
    example: str = ""
    default: str = ""  # in words, where it is derived from other values; others are in `parc.plan.blocks`
    least: float | None = None  # of numbers: 1 of counts and 0 of others, if it is not given
    most: float | None = None

    @property
    def lower_bound(self) -> float:
        return (1 if self.kind == "count" else 0) if self.least is None else self.least

    @property
    def type(self) -> str:
        """The type of the value, in words."""
        if self.kind == "quantity":
            return units.describe_dimension(self.dimension)
        words = " or ".join(f"`{choice}`" for choice in self.choices)
        return f"a list of {words} or texts" if self.kind == "kinds" else WORDS.get(self.kind) or words


class Form(NamedTuple):
    """A kind of block. `dataclass` names the class in `parc.plan.blocks` that it resolves to."""

    kind: str
    doc: str
    keys: tuple[Key, ...] = ()
    blocks: tuple[Form, ...] = ()
    dataclass: str = ""
    head: tuple[str, ...] = ()  # its required parts, of "label", "for", "on" and "over"
    open: bool = False  # any other keys are allowed
    claims: bool = False  # it contains claims
    many: bool = False  # several of them are allowed

    def find_key(self, name: str) -> Key | None:
        return next((key for key in self.keys if key.name == name), None)

    def find_value(self, name: str) -> Key | None:
        """The key that takes `name { .. }` or `name(..)` as its value: `optimizer` for `adamw`."""
        takers = (key for key in self.keys if key.kind in ("call", "configured"))
        return next((key for key in takers if name in key.choices), None)

    def find_block(self, kind: str) -> Form | None:
        return next((form for form in self.blocks if form.kind == kind), None)
