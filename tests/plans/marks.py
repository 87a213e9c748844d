"""Marks: what `parc check` is to say of a plan, written under the guilty places of its text.

    batch { sequences = 36, length = 64, microbatches = 8 }
    #                   ^^ P208                         - P208

`^` is a primary place, `-` another guilty one, each as long as its span; several codes may follow. A mark
that touches the `#` begins where that stands, at the first column. A span that goes on over the end of its
line ends in `..`, an empty one is `|` or, if it is not primary, `:`. Places in other files, and faults
without a place, are listed in lines of their own: `# elsewhere P207 - library.parc:3:12 "64"`.

    python -m tests.plans.marks FILE ..

writes the marks of a file anew, as things stand: look at the difference before you believe it.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from parc.check.load import Loaded, load
from parc.diagnostic import Diagnostic, Label
from parc.source import Source

MARK = re.compile(r"(\^+|-+|[|:])(\.\.)?((?: P\d{3})+)")
LINE = re.compile(rf"\s*#(\s*{MARK.pattern})+\s*")
ELSEWHERE = re.compile(r"# elsewhere (?P<what>P\d{3} .*)")


class Place(NamedTuple):
    """One label of one diagnostic, in the file that is checked."""

    line: int  # 1-based, as is the column
    column: int
    length: int  # on its first line
    goes_on: bool
    primary: bool
    code: str


def parse_marks(text: str) -> tuple[Counter[Place], Counter[str]]:
    """The places that a text's marks say, and what it says of places elsewhere."""
    places: Counter[Place] = Counter()
    others: Counter[str] = Counter()
    marked = 0  # the line which marks are about
    for number, line in enumerate(text.split("\n"), 1):
        if other := ELSEWHERE.fullmatch(line):
            others[other["what"]] += 1
        elif not LINE.fullmatch(line):
            marked = number
        else:
            for mark in MARK.finditer(line):
                run, on, codes = mark.groups()
                start = mark.start() - (line[mark.start() - 1] == "#")
                length = 0 if run in "|:" else len(run)
                for code in codes.split():
                    places[Place(marked, start + 1, length, bool(on), run[0] in "^|", code)] += 1
    return places, others


def find_marks(loaded: Loaded) -> tuple[Counter[Place], Counter[str]]:
    """What `parc check` says, in the same terms."""
    places: Counter[Place] = Counter()
    others: Counter[str] = Counter()
    for diagnostic in loaded.diagnostics:
        for label in diagnostic.labels or (None,):
            if label is None or label.span.source is not loaded.sources[0]:
                others[_elsewhere(diagnostic, label)] += 1
            else:
                places[_place(diagnostic, label)] += 1
    return places, others


def _place(diagnostic: Diagnostic, label: Label) -> Place:
    span = label.span
    line, column = span.source.locate(span.start)
    length = min(span.end - span.start, len(span.source.get_line(line)) - column + 1)
    return Place(line, column, length, span.end > span.start + length, label.primary, diagnostic.code)


def _elsewhere(diagnostic: Diagnostic, label: Label | None) -> str:
    if label is None:
        return f"{diagnostic.code} without a place"
    span, mark = label.span, "^" if label.primary else "-"
    return f'{diagnostic.code} {mark} {Path(span.source.path).name}:{span.line}:{span.column} "{span.text}"'


def marked(source: Source, found: Iterable[Place], others: Iterable[str]) -> str:
    """The text with marks for these places, and without those it had."""
    by_line: dict[int, list[Place]] = {}
    for place in sorted(found):
        by_line.setdefault(place.line, []).append(place)
    lines = []
    for number, line in enumerate(source.text.split("\n"), 1):
        if not LINE.fullmatch(line) and not ELSEWHERE.fullmatch(line):
            lines += [line, *_rows(line, by_line.get(number, []))]
    while not lines[-1]:
        lines.pop()
    return "\n".join([*lines, *(f"# elsewhere {other}" for other in sorted(others))]) + "\n"


def _rows(line: str, places: list[Place]) -> list[str]:
    """Comment lines with the marks of one line: as few as they fit in."""
    indent = len(line) - len(line.lstrip())
    rows: list[str] = []
    spans: dict[tuple[int, int, bool, bool], list[str]] = {}
    for place in places:
        spans.setdefault(place[1:5], []).append(place.code)
    for (column, length, goes_on, primary), codes in spans.items():
        run = ("^" if primary else "-") * length or ("|" if primary else ":")
        text = f"{run}{'..' if goes_on else ''} {' '.join(codes)}"
        start = column - 1
        for index, row in enumerate(rows):
            if len(row) < start:
                rows[index] = row.ljust(start) + text
                break
        else:
            assert start != 1, f"no room for a mark: {line}"
            sign = max(0, min(indent, start - 2))
            rows.append(" " * sign + "#" + " " * (start - sign - 1) + text)
    return rows


def main(files: list[str]) -> None:
    for name in files:
        loaded = load(Path(name))
        found, others = find_marks(loaded)
        Path(name).write_text(marked(loaded.sources[0], found.elements(), others.elements()))


if __name__ == "__main__":
    main(sys.argv[1:])
