"""A plan file as it is in the editor, and everything that is known of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from parc.check.again import Places, whole
from parc.check.load import Loaded
from parc.plan.facts import Plan, Spanned
from parc.plan.imports import HARDWARE, KNOWN
from parc.source import Source, Span
from parc.syntax import tree

Edit: TypeAlias = tuple[int, int, str]  # from, up to, what comes there instead


@dataclass(frozen=True, eq=False)
class Analysis:
    """`files` are the trees of the file itself and of all that it imports, by their real paths, in order.

    Nodes and facts have spans in parts of the texts: `whole` places them in the texts. `version` is the
    editor's, None where the file is not open.
    """

    path: Path
    source: Source
    version: int | None
    loaded: Loaded
    files: Mapping[Path, tree.File]
    places: Places
    trial: Callable[[Path, str], Loaded]

    @property
    def file(self) -> tree.File:
        return self.files[self.path]

    @property
    def plans(self) -> tuple[Plan, ...]:
        """Those of the file itself that could be read."""
        return self.loaded.plans

    def whole(self, span: Span) -> Span:
        return whole(self.places, span)

    def covers(self, node: tree.Node | Spanned, offset: int) -> bool:
        """Whether the offset is in the node, or at its end."""
        span = self.whole(node.span)
        return span.source is self.source and span.start <= offset <= span.end

    def tried(self, edits: Iterable[Edit]) -> Loaded:
        """What there would be to say after an edit of the file."""
        return self.trial(self.path, edited(self.source.text, edits))

    def block(self, offset: int) -> tree.Block | None:
        """The top-level block at the offset."""
        for statement in self.file.statements:
            if isinstance(statement, tree.Block) and self.covers(statement, offset):
                return statement
        return None

    def plan(self, offset: int) -> Plan | None:
        """The plan whose block the offset is in; outside of one, the only plan that there is."""
        block = self.block(offset)
        if block and block.kind.text == "plan":
            return next((plan for plan in self.plans if plan.span == block.span), None)
        return self.plans[0] if len(self.plans) == 1 else None


def real(shown: str) -> Path:
    """The file that a text is shown to be; that of known hardware is among parc's own."""
    if shown.startswith(KNOWN):
        return HARDWARE / f"{shown.removeprefix(KNOWN)}.parc"
    return Path(shown).resolve()


def edited(text: str, edits: Iterable[Edit]) -> str:
    for start, end, instead in sorted(edits, reverse=True):
        text = text[:start] + instead + text[end:]
    return text
