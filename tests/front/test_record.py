"""Values that are quick to define behave as those of the standard library do."""

from __future__ import annotations

from dataclasses import asdict, fields
from dataclasses import dataclass as standard
from dataclasses import field as standard_field
from dataclasses import replace as standard_replace
from typing import Any

import pytest

from parc.record import dataclass, field, replace


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
    d: dict[str, int] = standard_field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 2


Untyped: Any = Point  # what type checkers refuse


def test_equality_hash_text_and_replacing() -> None:
    ours, theirs = Ours(a=1, c="x"), Theirs(a=1, c="x")
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    assert replace(ours, a=2) == Ours(a=2, c="x", d={"not": 1}) != ours
    assert len({ours, Ours(a=1, c="x", d={"not": 1}), replace(ours, a=2)}) == 2
    assert ours != Base(a=1)
    assert ours != theirs


def test_every_instance_has_its_own_default() -> None:
    one, other = Ours(a=1, c="x"), Ours(a=1, c="x")
    assert one.d == other.d == {}
    assert one.d is not other.d


def test_the_standard_library_knows_the_fields() -> None:
    ours, theirs = Ours(a=1, c="x"), Theirs(a=1, c="x")
    assert [(each.name, each.default) for each in fields(ours)] == [
        (each.name, each.default) for each in fields(theirs)
    ]
    assert asdict(ours) == asdict(theirs)
    assert standard_replace(ours, a=2) == replace(ours, a=2)


def test_an_instance_is_frozen() -> None:
    point: Any = Point(1)
    with pytest.raises(AttributeError, match="frozen"):
        point.x = 2
    with pytest.raises(AttributeError, match="frozen"):
        del point.y
    assert point == Point(1, 2)


@pytest.mark.parametrize(
    ("values", "named", "reason"),
    [
        ((), {}, "needs a value of x"),
        ((), {"y": 1}, "needs a value of x"),
        ((1,), {"z": 1}, "has no field z"),
        ((1, 2, 3), {}, "positional arguments"),
        ((1,), {"x": 1}, "positional arguments"),
        ((1, 2), {"x": 1}, "positional arguments"),
    ],
)
def test_wrong_arguments_are_refused(values: tuple[int, ...], named: dict[str, int], reason: str) -> None:
    with pytest.raises(TypeError, match=reason):
        Untyped(*values, **named)


def test_keywords_alone_means_keywords_alone() -> None:
    untyped: Any = Base
    with pytest.raises(TypeError, match="positional arguments"):
        untyped(1)


@pytest.mark.parametrize("default", [[], {}, standard_field(default=1)])
def test_a_default_value_cannot_be_shared_or_of_the_standard_library(default: object) -> None:
    with pytest.raises(TypeError, match="default value"):
        dataclass(frozen=True)(type("Wrong", (), {"__annotations__": {"a": int}, "a": default}))
