"""A program with one bug in it."""

from __future__ import annotations

from dataclasses import dataclass

from parc.emit.program import Files


@dataclass(frozen=True)
class Mutant:
    """One edit of an emitted program.

    `equivalent` is the reason why it computes what the program computes, on any data; None where it does not.
    `undetectable` is the reason why this sample cannot show the difference, though others can.
    """

    site: str
    files: Files  # the edited ones
    equivalent: str | None = None
    undetectable: str | None = None

    @property
    def run(self) -> bool:
        """Whether some rung should detect it here."""
        return not (self.equivalent or self.undetectable)
