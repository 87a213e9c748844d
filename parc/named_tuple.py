"""A `NamedTuple` for the classes that every start of `parc check` defines.

The standard one compiles code for each class and each annotation, which takes a tenth of the time of a check.
Here, all classes share their methods. Type checkers see the standard one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["NamedTuple"]

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from operator import itemgetter

    try:
        from _collections import _tuplegetter as get_item  # in C, as `collections.namedtuple` has it
    except ImportError:

        def get_item(index, doc):
            return property(itemgetter(index), doc=doc)

    class NamedTupleMeta(type):
        """Makes each subclass of `NamedTuple` a tuple with the fields that its body declares."""

        def __new__(cls, name, bases, namespace):
            if not bases:  # `NamedTuple` itself
                return super().__new__(cls, name, bases, namespace)
            fields = tuple(namespace["__annotations__"])
            namespace["_fields"] = namespace["__match_args__"] = fields
            namespace["_field_defaults"] = {name: namespace[name] for name in fields if name in namespace}
            namespace |= {name: get_item(index, name) for index, name in enumerate(fields)}
            bases = tuple(tuple if base is NamedTuple else base for base in bases)  # others: `Generic`
            return type(name, bases, SHARED | namespace)

    def _create(cls, *values, **named):
        if named or len(values) != len(cls._fields):
            values = _complete(cls, values, named)
        return tuple.__new__(cls, values)

    def _complete(cls, values, named):
        """The values of all fields, of which some are given by name or have a default."""
        fields = cls._fields
        given = dict(zip(fields, values, strict=False))
        if len(values) > len(fields) or not named.keys().isdisjoint(given):
            raise TypeError(f"{cls.__qualname__} takes the positional arguments {fields}")
        given |= named
        if unknown := given.keys() - set(fields):
            raise TypeError(f"{cls.__qualname__} has no field {', '.join(unknown)}")
        found = cls._field_defaults | given
        if len(found) < len(fields):
            raise TypeError(f"{cls.__qualname__} needs a value of {', '.join(set(fields) - found.keys())}")
        return [found[name] for name in fields]

    def _make(cls, values):
        return cls(*values)

    def _replace_fields(self, /, **changes):
        values = [changes.pop(name, value) for name, value in zip(self._fields, self, strict=True)]
        if changes:
            raise TypeError(f"{self.__class__.__qualname__} has no field {', '.join(changes)}")
        return tuple.__new__(self.__class__, values)

    def _convert_to_dict(self):
        return dict(zip(self._fields, self, strict=True))

    def _convert_to_tuple(self):
        return tuple(self)

    def _represent_tuple(self):
        values = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
        return f"{self.__class__.__qualname__}({values})"

    SHARED = {
        "__slots__": (),
        "__new__": _create,
        "__repr__": _represent_tuple,
        "__getnewargs__": _convert_to_tuple,
        "_make": classmethod(_make),
        "_replace": _replace_fields,
        "_asdict": _convert_to_dict,
    }

    class NamedTuple(metaclass=NamedTupleMeta):
        """Subclasses are as those of `typing.NamedTuple`."""
