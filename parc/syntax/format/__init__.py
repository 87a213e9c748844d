"""Formats plan files in their canonical style.

Two spaces per level, one space around signs, at most one blank line. Lines of the author are kept: statements
on one line stay together if they fit 110 columns, and a bracket over several lines stays so, with its content
on separate lines. Neighbouring lines are aligned. Comments keep their places.
"""

from __future__ import annotations

from parc.source import Source
from parc.syntax.format.lines import Printer
from parc.syntax.format.pieces import PieceReader, list_words
from parc.syntax.scan import scan


def format_source(source: Source) -> str:
    """The text in canonical style; `source` must not have syntax faults. Lines end with a line feed."""
    reader = PieceReader(source, scan(source, []))
    text = Printer().print_file(reader.read_file())
    after = Source(source.path, text)
    assert list_words(reader) == list_words(PieceReader(after, scan(after, []))), "formatting changed a token"
    return text
