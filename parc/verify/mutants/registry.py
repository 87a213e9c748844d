"""Known silent bugs: those that are injected, and those that no program of parc can have today."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from parc.verify.mutants.target import Mutant, MutationTarget

Bug: TypeAlias = Callable[[MutationTarget], Iterator[Mutant]]
"""Yields a mutant for every site of a program. The docstring states what goes wrong, where it was seen, and
where it applies."""

BUGS: dict[str, Bug] = {}
"""By the name of the class of mutants."""

ABSENT = {
    "tied embeddings not summed": (  # Megatron-LM #844
        "a parameter that two stages share is refused; within a stage there is one tensor"
    ),
    "dropout drawn a rank": "dropout is refused",  # Megatron-LM #206
    "state lost at a change of layout": (  # Fast-LLM #436; a loss within a run is a class of its own
        "there are no checkpoints: nothing changes its layout"
    ),
    "torn checkpoint loaded": "there are no checkpoints",
}
"""Why no program can have a bug. When parc builds what is refused here, the class gets mutants."""


def silent_bug(name: str) -> Callable[[Bug], Bug]:
    """Registers a bug."""

    def register(bug: Bug) -> Bug:
        assert name not in BUGS, name
        BUGS[name] = bug
        return bug

    return register
