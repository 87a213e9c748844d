"""A program with one bug in it, and the registry of the bugs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from parc.emit.program import Files

if TYPE_CHECKING:
    from parc.verify.mutants.target import Subject


@dataclass(frozen=True)
class Mutant:
    """One edit of an emitted program.

    `same` is the reason why it computes what the program computes, on any data; None where it does not.
    `untold` is the reason why this trial cannot tell, though others can.
    """

    site: str
    files: Files  # those that differ, as they are then
    same: str | None = None
    untold: str | None = None

    @property
    def run(self) -> bool:
        """Whether some rung should notice it here."""
        return not (self.same or self.untold)


Inject: TypeAlias = "Callable[[Subject], Iterator[Mutant]]"


@dataclass(frozen=True)
class Bug:
    """A class of mutants. Its page says what goes wrong, where it was seen, and where it applies."""

    name: str
    inject: Inject

    @property
    def page(self) -> str:
        """The docstring of the function that injects it."""
        return inspect.cleandoc(self.inject.__doc__ or "")


BUGS: dict[str, Bug] = {}


def silent_bug(name: str) -> Callable[[Inject], Inject]:
    """Registers a function that yields a mutant for every site where a program could have the bug."""

    def register(inject: Inject) -> Inject:
        assert name not in BUGS, name
        BUGS[name] = Bug(name, inject)
        return inject

    return register
