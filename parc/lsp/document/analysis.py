"""A plan file as it is in the editor, and everything that is known of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from parc.check.incremental import Places, whole_of
from parc.check.load import Loaded
from parc.plan.blocks import Plan, Spanned
from parc.plan.imports import HARDWARE, HARDWARE_PREFIX
from parc.source import Source, Span
from parc.syntax import tree

Edit: TypeAlias = tuple[int, int, str]  # from, up to, what comes there instead


@dataclass(frozen=True, eq=False)
class Analysis:
    """`path` is the address under which the file is known, `key` its real path.

    `files` are the trees of the file itself and of all that it imports, by their real paths, in order.
    Nodes and facts have spans in parts of the texts: `whole` places them in the texts. `version` is the
    editor's, None where the file is not open; `number` tells one analysis from every other.
    """

    path: Path
    key: Path
    source: Source
    version: int | None
    number: int
    loaded: Loaded
    files: Mapping[Path, tree.File]
    places: Places
    trial: Callable[[Path, str], Loaded]

    @property
    def file(self) -> tree.File:
        return self.files[self.key]

    @property
    def plans(self) -> tuple[Plan, ...]:
        """Those of the file itself that could be read."""
        return self.loaded.plans

    def whole(self, span: Span) -> Span:
        return whole_of(self.places, span)

    def covers(self, node: tree.Node | tree.Body | Spanned, offset: int) -> bool:
        """Whether the offset is in the node, or at its end."""
        span = self.whole(node.span)
        return span.source is self.source and span.start <= offset <= span.end

    def tried(self, edits: Iterable[Edit]) -> Loaded:
        """What there would be to say after an edit of the file."""
        return self.trial(self.path, edited(self.source.text, edits))

    def text_of(self, path: Path) -> Source:
        """Of the file itself or of one that it imports."""
        return self.files[path].source

    def imported_at(self, span: Span | None) -> Span:
        """The import by which a place elsewhere came to be part of the file; else its first character."""
        wanted = real(span.source.path) if span else None
        for name, path in imports(self.key, self.file):
            if wanted in self._reached(path, set()):
                return self.whole(name.span)
        return self.source.span(0, min(1, len(self.source.text)))

    def _reached(self, path: Path, seen: set[Path]) -> set[Path]:
        """The file and all that it imports."""
        if path in self.files and path not in seen:
            seen.add(path)
            for _, inner in imports(path, self.files[path]):
                self._reached(inner, seen)
        return seen

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


def imports(path: Path, file: tree.File) -> Iterator[tuple[tree.String, Path]]:
    """The imports of the file at `path`, and where they lead, whether there is such a file or not."""
    for statement in file.statements:
        if isinstance(statement, tree.Import) and isinstance(statement.path, tree.String):
            name = statement.path.value
            if name.startswith(HARDWARE_PREFIX):
                yield statement.path, real(name)
            else:
                try:
                    there = real(str(path.parent / name))
                except ValueError:  # no file has such a name: a null, half of a surrogate pair
                    continue
                yield statement.path, there


def real(shown: str) -> Path:
    """The file that a text is shown to be; that of known hardware is among parc's own."""
    if shown.startswith(HARDWARE_PREFIX):
        return HARDWARE / f"{shown.removeprefix(HARDWARE_PREFIX)}.parc"
    return Path(os.path.realpath(shown))


def edited(text: str, edits: Iterable[Edit]) -> str:
    for start, end, instead in sorted(edits, reverse=True):
        text = text[:start] + instead + text[end:]
    return text


def difference(before: str, after: str) -> list[Edit]:
    """One edit, of what is not the same at both ends."""
    start, most = 0, min(len(before), len(after))
    while start < most and before[start] == after[start]:
        start += 1
    end = 0
    while end < most - start and before[-1 - end] == after[-1 - end]:
        end += 1
    if start == len(before) == len(after):
        return []
    return [(start, len(before) - end, after[start : len(after) - end])]
