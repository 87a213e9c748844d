"""The keys of a configuration, which model families name differently."""

from __future__ import annotations

from collections.abc import Mapping

MOST = 2**53


class Unreadable(Exception):
    """What is wrong with a configuration, in words for the user."""


class Keys:
    """A configuration. `kind` is its `model_type`."""

    def __init__(self, given: Mapping[str, object]) -> None:
        self.given = given
        kind = given.get("model_type")
        self.kind = kind if isinstance(kind, str) else ""

    def find(self, *names: str) -> object:
        """The value of the first of these keys that has one."""
        return next((self.given[name] for name in names if self.given.get(name) is not None), None)

    def find_count(self, *names: str) -> int | None:
        """A whole number; of a list with a number for each layer the largest.

        Raises:
            Unreadable: the value is something else.
        """
        value = self.find(*names)
        numbers = value if isinstance(value, list) else [value]
        if value is None or not numbers:
            return None
        largest = 0
        for number in numbers:
            if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < MOST:
                raise Unreadable(f"`{names[0]}` is a whole number, not {number!r}")
            largest = max(largest, number)
        return largest

    def count(self, *names: str, default: int = 0) -> int:
        """As `find_count`; `default` where none of the keys has a value.

        Raises:
            Unreadable: the value is something else.
        """
        found = self.find_count(*names)
        return default if found is None else found

    def flag(self, name: str, default: bool = False) -> bool:
        """Whether the key is true; `default` where it is not a truth value."""
        value = self.given.get(name)
        return value if isinstance(value, bool) else default

    def list(self, *names: str) -> list[object]:
        """The first of these keys that has a list; else an empty one."""
        return next((value for name in names if isinstance(value := self.given.get(name), list)), [])

    def enter(self, name: str) -> Keys:
        """The keys of an inner object, and those of this one that it does not have."""
        return self._override(self.given.get(name))

    def enter_alone(self, name: str) -> Keys:
        """The keys of an inner object alone."""
        inner = self.given.get(name)
        return Keys(inner if isinstance(inner, dict) else {})

    def of_layer(self, index: int) -> Keys:
        """The keys of one layer, which `per_layer_config` may have its own of."""
        own = self.given.get("per_layer_config")
        if not isinstance(own, dict):
            return self
        return self._override(own.get(f"{index:02}", own.get(str(index))))

    def _override(self, inner: object) -> Keys:
        if not isinstance(inner, dict):
            return self
        known = {key: value for key, value in inner.items() if value is not None and key != "model_type"}
        return Keys({**self.given, **known})
