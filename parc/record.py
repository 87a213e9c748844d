"""A `dataclass` for the classes that every start of `parc check` defines.

The standard one imports `inspect` and compiles methods for each class, which takes a fifth of the time of a
check. Here, all classes share their methods. Type checkers see the standard one, and `fields`, `replace` and
`asdict` of `dataclasses` accept the instances.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["dataclass", "field", "replace"]

if TYPE_CHECKING:
    from dataclasses import dataclass, field, replace
else:
    from operator import itemgetter

    from parc.named_tuple import NamedTuple

    MISSING = object()

    class Field(NamedTuple):
        """As `dataclasses.field` declares one."""

        default: object = MISSING
        default_factory: object = MISSING
        compare: bool = True
        repr: bool = True

    field = Field

    class FieldTable(NamedTuple):
        """What the methods have to know of the fields of a class."""

        fields: dict[str, Field]
        names: frozenset[str]
        positional: tuple[str, ...]
        defaults: dict[str, object]
        factories: tuple[tuple[str, object], ...]
        compared: itemgetter

    def dataclass(*, frozen, eq=True, slots=False, kw_only=False):
        """Declare a class whose instances are frozen. `slots` has no effect."""
        assert frozen

        def declare(cls):
            fields = {}
            for base in cls.__mro__[:0:-1]:
                if "__layout__" in base.__dict__:
                    fields |= base.__layout__.fields
            for name in cls.__annotations__:
                default = cls.__dict__.get(name, MISSING)
                fields[name] = default if isinstance(default, Field) else Field(default)
                if isinstance(default, Field):
                    delattr(cls, name)
                elif default.__class__.__hash__ is None or type(default).__module__ == "dataclasses":
                    raise TypeError(f"{default!r} cannot be a default value of {cls.__qualname__}.{name}")
            cls.__layout__ = FieldTable(
                fields,
                frozenset(fields),
                () if kw_only else tuple(fields),
                {name: each.default for name, each in fields.items() if each.default is not MISSING},
                tuple(
                    (name, each.default_factory)
                    for name, each in fields.items()
                    if each.default_factory is not MISSING
                ),
                itemgetter(*(name for name, each in fields.items() if each.compare)),
            )
            cls.__match_args__ = cls.__layout__.positional
            cls.__init__, cls.__setattr__, cls.__delattr__ = _initialize, _refuse, _refuse
            cls.__repr__ = _represent
            if eq:
                cls.__eq__, cls.__hash__ = _equal, _hash
            cls.__dataclass_fields__ = StandardFields()
            return cls

        return declare

    def replace(instance, /, **changes):
        """A copy with other values of some fields."""
        own = instance.__dict__
        names = instance.__layout__.names
        return instance.__class__(**{name: own[name] for name in names if name not in changes}, **changes)

    def _initialize(self, *values, **named):
        _, names, positional, defaults, factories, _ = self.__layout__
        own = self.__dict__
        if values and not named and len(values) == len(positional):
            own.update(zip(positional, values, strict=True))
            return
        own.update(defaults)
        for name, make in factories:
            if name not in named:
                own[name] = make()
        if values:
            own.update(zip(positional, values, strict=False))
            if len(values) > len(positional) or not named.keys().isdisjoint(positional[: len(values)]):
                raise TypeError(f"{self.__class__.__qualname__} takes the positional arguments {positional}")
        if named:
            own.update(named)
            if not names >= named.keys():
                unknown = ", ".join(named.keys() - names)
                raise TypeError(f"{self.__class__.__qualname__} has no field {unknown}")
        if len(own) < len(names):
            missing = ", ".join(names - own.keys())
            raise TypeError(f"{self.__class__.__qualname__} needs a value of {missing}")

    def _refuse(self, name, *value):
        raise AttributeError(f"{self.__class__.__qualname__} is frozen: {name} cannot be changed")

    def _equal(self, other):
        if other.__class__ is not self.__class__:
            return NotImplemented
        compared = self.__layout__.compared
        return compared(self.__dict__) == compared(other.__dict__)

    def _hash(self):
        return hash(self.__layout__.compared(self.__dict__))

    def _represent(self):
        shown = (name for name, each in self.__layout__.fields.items() if each.repr)
        values = ", ".join(f"{name}={self.__dict__[name]!r}" for name in shown)
        return f"{self.__class__.__qualname__}({values})"

    class StandardFields:
        """`__dataclass_fields__`, made when `dataclasses` asks for it."""

        def __get__(self, instance, cls):
            import dataclasses  # noqa: PLC0415 - start-up time

            def convert(each):
                given = {name: value for name, value in each._asdict().items() if value is not MISSING}
                return dataclasses.field(**given)

            fields = [(name, object, convert(each)) for name, each in cls.__layout__.fields.items()]
            return dataclasses.make_dataclass(cls.__name__, fields, kw_only=True).__dataclass_fields__
