"""Parses plan files. A fault becomes a diagnostic, never an exception, and the rest is still parsed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from parc.diagnostic import Diagnostic, Label, error
from parc.named_tuple import NamedTuple
from parc.source import Source
from parc.syntax import tree
from parc.syntax.build import Builder
from parc.syntax.fix_trials import keep_effective_fixes
from parc.syntax.parts import split_text
from parc.syntax.recover import Recovery
from parc.syntax.scan import MAX_FAULTS, MAX_TOKENS, check_length, check_tokens, get_span, lex, scan
from parc.syntax.token import Token


class Part(NamedTuple):
    """One parsed part of a text; it does not depend on the text around it."""

    statements: tuple[tree.Statement, ...]
    damaged: bool
    faults: tuple[Diagnostic, ...]
    tokens: int


def parse(source: Source) -> tuple[tree.File, tuple[Diagnostic, ...]]:
    """Parse a plan file; the tree, and all faults of its syntax."""
    if fault := check_length(source):
        return tree.File(source, ()), (fault,)
    tokens = list(islice(lex(source), MAX_TOKENS + 1))
    if len(tokens) > MAX_TOKENS:
        message = f"a plan file has at most {MAX_TOKENS:,} tokens"
        return tree.File(source, ()), (
            error("P005", message, Label(get_span(source, tokens[-1]), "one too many")),
        )
    return join_parts(source, _split_parts(source, tokens))


def _split_parts(source: Source, tokens: list[Token]) -> Iterator[Part]:
    index = 0
    for _, end in split_text(source.text):
        first = index
        while index < len(tokens) and (tokens[index].start_pos or 0) < end:
            index += 1
        yield _parse_tokens(source, tokens[first:index], end)


def parse_part(source: Source) -> Part:
    """Parse a source that is one part of a text."""
    return _parse_tokens(source, list(lex(source)), len(source.text))


def _parse_tokens(source: Source, tokens: list[Token], end: int) -> Part:
    faults: list[Diagnostic] = []
    recovery = Recovery(source, check_tokens(source, tokens, end, faults), "file", faults)
    file = Builder(source, recovery.dropped).build_file(recovery.parse())
    return Part(file.statements, file.damaged, tuple(faults), len(tokens))


def count_faults(text: str) -> int:
    """The number of faults of a text that is one part."""
    return len(parse_part(Source("", text)).faults)


def join_parts(
    source: Source, parts: Iterable[Part], count: Callable[[str], int] = count_faults
) -> tuple[tree.File, tuple[Diagnostic, ...]]:
    """The file of all parts, up to the limit of faults. `count` works like `count_faults`."""
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
    return tree.File(source, tuple(statements), damaged), tuple(
        keep_effective_fixes(source, faults, counts, count)
    )


def parse_override(source: Source) -> tuple[tree.Assignment | None, tuple[Diagnostic, ...]]:
    """Parse the argument of `--set PATH=VALUE`; None if it is faulty."""
    faults: list[Diagnostic] = []
    recovery = Recovery(source, scan(source, faults), "override", faults)
    node = recovery.parse_strictly()
    if faults or node is None:
        return None, tuple(faults)
    return Builder(source, recovery.dropped).build_assignment(node), ()
