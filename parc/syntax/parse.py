"""Text to tree. A fault of the text becomes a diagnostic, never an exception; the rest is parsed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from parc.diagnostic import Diagnostic, Label, error
from parc.source import Source
from parc.syntax import tree
from parc.syntax.build import Builder
from parc.syntax.parts import cut
from parc.syntax.recover import Recovery
from parc.syntax.scan import MAX_FAULTS, MAX_TOKENS, checked, lex, place, scan, too_long
from parc.syntax.token import Token
from parc.syntax.trial import tried


class Part(NamedTuple):
    """What was read from one of the parts of a text; it depends on nothing around that."""

    statements: tuple[tree.Statement, ...]
    damaged: bool
    faults: tuple[Diagnostic, ...]
    tokens: int


def parse(source: Source) -> tuple[tree.File, tuple[Diagnostic, ...]]:
    """A plan file."""
    if fault := too_long(source):
        return tree.File(source, ()), (fault,)
    tokens = list(islice(lex(source), MAX_TOKENS + 1))
    if len(tokens) > MAX_TOKENS:
        message = f"a plan file has at most {MAX_TOKENS:,} words"
        return tree.File(source, ()), (
            error("P005", message, Label(place(source, tokens[-1]), "one too many")),
        )
    return join(source, _parts(source, tokens))


def _parts(source: Source, tokens: list[Token]) -> Iterator[Part]:
    index = 0
    for _, end in cut(source.text):
        first = index
        while index < len(tokens) and (tokens[index].start_pos or 0) < end:
            index += 1
        yield _part(source, tokens[first:index], end)


def part(source: Source) -> Part:
    """A source that is nothing but one part of a text."""
    return _part(source, list(lex(source)), len(source.text))


def _part(source: Source, tokens: list[Token], end: int) -> Part:
    faults: list[Diagnostic] = []
    recovery = Recovery(source, checked(source, tokens, end, faults), "file", faults)
    file = Builder(source, recovery.dropped).file(recovery.parse())
    return Part(file.statements, file.damaged, tuple(faults), len(tokens))


def faults_in(text: str) -> int:
    """How many faults a text has that is a part."""
    return len(part(Source("", text)).faults)


def join(
    source: Source, parts: Iterable[Part], count: Callable[[str], int] = faults_in
) -> tuple[tree.File, tuple[Diagnostic, ...]]:
    """The file of all parts, up to where they are no plan file; `count` as `faults_in`."""
    statements: list[tree.Statement] = []
    faults: list[Diagnostic] = []
    counts: list[int] = []
    damaged = False
    for each in parts:
        if len(faults) > MAX_FAULTS:
            damaged = True
            break
        statements += each.statements
        faults += each.faults
        counts.append(len(each.faults))
        damaged |= each.damaged
    return tree.File(source, tuple(statements), damaged), tuple(tried(source, faults, counts, count))


def parse_override(source: Source) -> tuple[tree.Assignment | None, tuple[Diagnostic, ...]]:
    """One `--set PATH=VALUE`; None where it is faulty."""
    faults: list[Diagnostic] = []
    recovery = Recovery(source, scan(source, faults), "override", faults)
    parsed = recovery.parse_strictly()
    if faults or parsed is None:
        return None, tuple(faults)
    return Builder(source, recovery.dropped).assignment(parsed), ()
