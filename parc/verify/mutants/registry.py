"""The registry of known silent bugs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from parc.verify.mutants.mutant import Mutant
from parc.verify.mutants.target import MutationTarget

Inject: TypeAlias = Callable[[MutationTarget], Iterator[Mutant]]


@dataclass(frozen=True)
class Bug:
    """A class of mutants."""

    name: str
    inject: Inject

    @property
    def page(self) -> str:
        """What goes wrong, where it was seen, and where it applies: the docstring of `inject`."""
        return inspect.cleandoc(self.inject.__doc__ or "")


BUGS: dict[str, Bug] = {}


def silent_bug(name: str) -> Callable[[Inject], Inject]:
    """Registers a function that yields a mutant for every site where a program could have the bug."""

    def register(inject: Inject) -> Inject:
        assert name not in BUGS, name
        BUGS[name] = Bug(name, inject)
        return inject

    return register
