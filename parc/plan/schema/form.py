"""What a block may hold: its head, its keys with their kinds, its blocks. Readers and editors ask here."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from parc.syntax import units
from parc.syntax.units import Dimension

Kind: TypeAlias = Literal[
    "count",  # a whole number
    "real",  # a plain number
    "flag",  # `true` or `false`
    "quantity",  # a number with a unit of `dimension`
    "text",
    "texts",  # a text or a list of them
    "choice",  # one of `choices`
    "counts",  # a list of whole numbers
    "sizes",  # `[ep: 8, tp: 4]`
    "axes",  # `[ep, tp]`, axes of the mesh
    "block",  # the name of a top-level block of the kind that the key is called
    "call",  # one of `choices`, with arguments
    "configured",  # one of `choices`, with settings: its form is among the `blocks`
]

WORDS: dict[Kind, str] = {
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
    kind: Kind
    doc: str
    choices: tuple[str, ...] = ()
    dimension: Dimension = units.NUMBER
    needed: bool = False
    example: str = ""

    @property
    def type(self) -> str:
        """What the value is, in words."""
        if self.kind == "quantity":
            return units.words(self.dimension)
        return WORDS.get(self.kind) or " or ".join(f"`{choice}`" for choice in self.choices)


class Form(NamedTuple):
    """`facts` is the class of `parc.plan.blocks` that the block becomes: it has the defaults."""

    kind: str
    doc: str
    keys: tuple[Key, ...] = ()
    blocks: tuple[Form, ...] = ()
    facts: str = ""
    head: tuple[str, ...] = ()  # of "label", "for", "on" and "over", those that must be there
    open: bool = False  # it may have any keys besides
    claims: bool = False  # it holds claims
    many: bool = False  # there may be several of them

    def key(self, name: str) -> Key | None:
        return next((key for key in self.keys if key.name == name), None)

    def block(self, kind: str) -> Form | None:
        return next((form for form in self.blocks if form.kind == kind), None)
