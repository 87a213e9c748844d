"""Named tuples that are quick to define behave as those of the standard library do."""

from __future__ import annotations

import copy
import pickle
from typing import Any, Generic, TypeVar
from typing import NamedTuple as Standard

import pytest

from parc.named_tuple import NamedTuple

T = TypeVar("T")


class Ours(NamedTuple):
    """A point with a label."""

    x: int
    y: int = 2
    label: str = ""

    @property
    def sum(self) -> int:
        return self.x + self.y


class Theirs(Standard):
    """A point with a label."""

    x: int
    y: int = 2
    label: str = ""

    @property
    def sum(self) -> int:
        return self.x + self.y


class Box(NamedTuple, Generic[T]):
    content: T


ARGUMENTS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((1,), {}),
    ((1, 3), {}),
    ((1, 3, "a"), {}),
    ((1,), {"label": "a"}),
    ((), {"y": 4, "x": 3}),
]


@pytest.mark.parametrize(("values", "named"), ARGUMENTS)
def test_instances_are_those_of_the_standard_library(values: tuple[Any, ...], named: dict[str, Any]) -> None:
    ours, theirs = Ours(*values, **named), Theirs(*values, **named)
    assert tuple(ours) == tuple(theirs)
    assert ours == theirs
    assert (ours.x, ours.y, ours.label, ours.sum) == (theirs.x, theirs.y, theirs.label, theirs.sum)
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    assert ours._asdict() == theirs._asdict()
    assert ours._replace(y=7) == theirs._replace(y=7)
    assert isinstance(ours._replace(y=7), Ours)


def test_classes_are_those_of_the_standard_library() -> None:
    assert Ours._fields == Theirs._fields
    assert Ours._field_defaults == Theirs._field_defaults
    assert Ours.__match_args__ == Theirs.__match_args__
    assert Ours.__doc__ == Theirs.__doc__
    assert Ours._make([1, 2, "c"]) == Theirs._make([1, 2, "c"])
    assert not hasattr(Ours(1), "__dict__")


def test_copies_are_equal() -> None:
    ours = Ours(1, 2, "c")
    assert copy.deepcopy(ours) == ours == pickle.loads(pickle.dumps(ours))
    assert isinstance(copy.copy(ours), Ours)


def test_a_pattern_takes_it_apart() -> None:
    match Ours(1, label="c"):
        case Ours(x, label="c"):
            assert x == 1
        case _:
            pytest.fail("no match")


def test_it_may_be_generic() -> None:
    assert Box(3).content == 3
    assert Box[int](3) == (3,)


@pytest.mark.parametrize(
    ("values", "named", "reason"),
    [
        ((), {}, "needs a value of x"),
        ((), {"y": 1}, "needs a value of x"),
        ((1,), {"z": 1}, "has no field z"),
        ((1, 2, "c", 4), {}, "positional arguments"),
        ((1,), {"x": 1}, "positional arguments"),
    ],
)
def test_wrong_arguments_are_refused(values: tuple[Any, ...], named: dict[str, Any], reason: str) -> None:
    untyped: Any = Ours
    with pytest.raises(TypeError, match=reason):
        untyped(*values, **named)


def test_only_fields_are_replaced_and_none_is_assigned() -> None:
    untyped: Any = Ours(1)
    with pytest.raises(TypeError, match="has no field z"):
        untyped._replace(z=1)
    with pytest.raises(AttributeError):
        untyped.x = 2
