"""Values that are quick to define behave as those of the standard library do."""

from __future__ import annotations

from dataclasses import dataclass as standard
from dataclasses import field, fields, replace

import pytest

from parc.record import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    a: int
    b: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours(Base):
    c: str
    d: dict[str, int] = field(default_factory=dict, compare=False, repr=False)


@standard(frozen=True, slots=True, kw_only=True)
class Theirs:
    a: int
    b: tuple[int, ...] = ()
    c: str
    d: dict[str, int] = field(default_factory=dict, compare=False, repr=False)


def test_equality_hash_text_and_replacing() -> None:
    ours, theirs = Ours(a=1, c="x"), Theirs(a=1, c="x")
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    assert [each.name for each in fields(ours)] == [each.name for each in fields(theirs)]
    assert replace(ours, a=2) == Ours(a=2, c="x", d={"not": 1}) != ours
    assert len({ours, Ours(a=1, c="x", d={"not": 1}), replace(ours, a=2)}) == 2
    assert ours != Base(a=1)
    assert ours != theirs
    with pytest.raises(TypeError):
        Ours(1, "x")  # type: ignore[misc]  # by name alone
