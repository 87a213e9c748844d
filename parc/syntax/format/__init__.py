"""The one canonical style of plan files.

Two spaces a level, one space around signs, at most one blank line. The author's lines stay: what stands on
one line stays together where it fits 110 columns, and a bracket that is broken over lines stays broken, with
its content on lines of its own. Neighbouring lines are aligned. Comments stay where they are.
"""

from __future__ import annotations

from parc.source import Source
from parc.syntax.format.lines import Printer
from parc.syntax.format.pieces import Reader, words
from parc.syntax.scan import scan


def formatted(source: Source) -> str:
    """The text in canonical style; `source` has no syntax fault. Lines end with a line feed."""
    reader = Reader(source, scan(source, []))
    text = Printer().file(reader.file())
    after = Source(source.path, text)
    assert words(reader) == words(Reader(after, scan(after, []))), "formatting changed a word"
    return text
