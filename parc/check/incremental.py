"""Reading a text over and over, as an editor does at every keystroke: only what changed is read and checked.

Each part of a text is a source of its own, which keeps its tree however far what is above it has moved. Spans
of trees and plans are therefore in the parts; `locate` converts them to spans of the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from parc.check.engine import Checked, check_plan
from parc.diagnostic import Diagnostic
from parc.plan.blocks import Plan
from parc.plan.resolve.memo import Memo
from parc.record import replace
from parc.source import Source, Span
from parc.syntax import tree
from parc.syntax.parse import Part, check_size, count_faults, join_parts, parse_part
from parc.syntax.parts import split_text

Places: TypeAlias = dict[Source, tuple[Source, int]]  # the text that a part stands in, and where


def locate(places: Places, span: Span) -> Span:
    """The same characters in the text that the part stands in."""
    source, start = places.get(span.source, (span.source, 0))
    return Span(source, span.start + start, span.end + start)


def _parse_new_part(piece: Source) -> tuple[Source, Part]:
    return piece, parse_part(piece)


class History:
    """What is kept from one reading of a file, and of all that it imports, to the next."""

    def __init__(self) -> None:
        self.blocks = Memo()
        self.checked: dict[int, Checked] = {}  # by identity of the plan
        self.files: dict[str, tree.File] = {}  # by the paths that they are shown under, the file itself first
        self.parts: dict[str, list[tuple[Source, Part]]] = {}  # of each path
        self.places: Places = {}
        self.sizes: dict[str, Mapping[str, int]] = {}  # of each path: the numbers of tokens of its parts
        self.counts: dict[str, int] = {}  # of the faults in each text that a fix was tried in,
        self.counted: dict[str, int] = {}  # and in the reading before

    def fork(self) -> History:
        """Another history, which continues from the same reading."""
        other = History()
        other.blocks = self.blocks.fork()
        other.checked, other.counts = dict(self.checked), dict(self.counts)
        other.parts, other.sizes = dict(self.parts), dict(self.sizes)
        return other

    def begin(self) -> None:
        """Before every reading."""
        self.files, self.places = {}, {}
        self.counts, self.counted = {}, self.counts

    def end(self) -> None:
        """After it: forget the files that are no longer imported."""
        self.parts = {path: parts for path, parts in self.parts.items() if path in self.files}
        self.sizes = {path: sizes for path, sizes in self.sizes.items() if path in self.files}

    def parse(self, source: Source) -> tuple[tree.File, tuple[Diagnostic, ...]]:
        known = self.sizes.get(source.path, {})
        self.sizes[source.path], fault = check_size(source, known)
        if fault:
            self.files[source.path] = tree.File(source, (), unread=True)
            return self.files[source.path], (fault,)
        self.files[source.path], faults = join_parts(source, self._parse_parts(source), self.count_faults)
        return self.files[source.path], faults

    def _parse_parts(self, source: Source) -> Iterator[Part]:
        """The parts that the text had before, and new ones; their faults at their places in the text."""
        known: dict[str, list[tuple[Source, Part]]] = {}
        for each in reversed(self.parts.get(source.path, ())):
            known.setdefault(each[0].text, []).append(each)
        parts = self.parts[source.path] = []
        for start, end in split_text(source.text):
            text = source.text[start:end]
            same = known.get(text)
            piece, read = same.pop() if same else _parse_new_part(Source(source.path, text))
            parts.append((piece, read))
            self.places[piece] = source, start
            yield read._replace(faults=tuple(map(self.relocate, read.faults)))

    def count_faults(self, text: str) -> int:
        """The faults of a part: most fixes that are tried were tried in the last reading."""
        found = self.counted.get(text)
        self.counts[text] = count_faults(text) if found is None else found
        return self.counts[text]

    def check_plans(self, plans: Iterable[Plan]) -> list[Checked]:
        """A plan that is the same object as in the last reading is not checked again."""
        self.checked = {id(plan): self.checked.get(id(plan)) or check_plan(plan) for plan in plans}
        return list(self.checked.values())

    def locate(self, span: Span) -> Span:
        return locate(self.places, span)

    def relocate(self, fault: Diagnostic) -> Diagnostic:
        """The same fault, its places and its fix in the texts."""
        labels = tuple(label._replace(span=self.locate(label.span)) for label in fault.labels)
        fix = fault.fix
        if fix:
            fix = fix._replace(edits=tuple((self.locate(span), text) for span, text in fix.edits))
        return replace(fault, labels=labels, fix=fix)
