"""A `dataclass` for values that are defined at every start of `parc check`.

The standard one compiles six methods for each class, which for all of a plan's and the cost model's takes as
long as the rest of a check. This one compiles `__init__` alone. Type checkers see the standard one, frozen as
it is there: at run time nothing keeps a field from being assigned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    from dataclasses import dataclass as _dataclass

    def dataclass(*, frozen: bool, slots: bool = False, kw_only: bool = False):
        assert frozen

        def declare(cls):
            cls.__eq__ = _equal
            cls.__hash__ = _hash
            cls.__repr__ = _repr
            return _dataclass(cls, eq=False, repr=False, kw_only=kw_only)

        return declare


def _values(of: object) -> list[object]:
    fields = type(of).__dataclass_fields__.values()  # type: ignore[attr-defined]  # of dataclasses alone
    return [getattr(of, each.name) for each in fields if each.compare]


def _equal(one: object, other: object) -> bool:
    return type(one) is type(other) and _values(one) == _values(other)


def _hash(one: object) -> int:
    return hash(tuple(_values(one)))


def _repr(one: object) -> str:
    fields = type(one).__dataclass_fields__.values()  # type: ignore[attr-defined]  # of dataclasses alone
    said = ", ".join(f"{each.name}={getattr(one, each.name)!r}" for each in fields if each.repr)
    return f"{type(one).__qualname__}({said})"
