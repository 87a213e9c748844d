"""The advice that a finding asks for, as plain data. `parc/check/advice/` answers when it is reported."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Literal, TypeAlias

from parc.named_tuple import NamedTuple

if TYPE_CHECKING:
    from parc.check.claims.verdict import Verdict


class Number(NamedTuple):
    """A number of the plan, by the block and the key that it is written under."""

    block: Literal["mesh", "shape", "batch"]
    key: str
    things: str  # what it counts: ranks of `tp`
    value: int
    least: int = 1


class Candidates(NamedTuple):
    """Other values of a number: those of each range, the nearest first, that divide `dividend`.

    All numbers divide 0. `fixable`: the finding's fix is to write the value, where there is only one.
    """

    number: Number
    ranges: tuple[range, ...]
    dividend: int = 0
    fixable: bool = False


class NearestValues(NamedTuple):
    """Of other values of some numbers the nearest that suit every rule."""

    heading: str
    candidates: tuple[Candidates, ...]


class Remedies(NamedTuple):
    """What would make a false claim true."""

    verdict: Verdict


class Layouts(Enum):
    """Kinds of other layouts. All but FITTING decide: without such a layout, the finding is not reported."""

    FITTING = auto()  # that need no more memory than there is
    BALANCED = auto()  # whose stages take the same time
    FINER = auto()  # of more microbatches or chunks
    FASTER = auto()  # whose groups reach less far, in less time
    CLOSER = auto()  # the same, where the step takes no less time

    @property
    def decides(self) -> bool:
        return self is not Layouts.FITTING


Request: TypeAlias = NearestValues | Remedies | Layouts
