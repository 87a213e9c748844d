"""Parses plan files. A fault becomes a diagnostic, never an exception, and the rest is still parsed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from parc.diagnostic import Diagnostic, Label, error
from parc.named_tuple import NamedTuple
from parc.source import Source, Span
from parc.syntax import tree
from parc.syntax.build import Builder
from parc.syntax.fix_trials import keep_effective_fixes
from parc.syntax.parts import split_text
from parc.syntax.recover import Recovery
from parc.syntax.scan import (
    MAX_FAULTS,
    MAX_PART_TOKENS,
    MAX_TOKENS,
    check_length,
    check_tokens,
    count_tokens,
    find_token,
    lex,
    scan,
)
from parc.syntax.token import Token

NO_SIZES: Mapping[str, int] = MappingProxyType({})


class Part(NamedTuple):
    """One parsed part of a text; it does not depend on the text around it."""

    statements: tuple[tree.Statement, ...]
    damaged: bool
    faults: tuple[Diagnostic, ...]
    tokens: int


def parse(source: Source) -> tuple[tree.File, tuple[Diagnostic, ...]]:
    """Parse a plan file; the tree, and all faults of its syntax."""
    _, fault = check_size(source)
    if fault:
        return tree.File(source, (), unread=True), (fault,)
    parts = split_text(source.text)
    return join_parts(source, (_parse_tokens(source, list(lex(source, *each)), each[1]) for each in parts))


def check_size(
    source: Source, known: Mapping[str, int] = NO_SIZES
) -> tuple[Mapping[str, int], Diagnostic | None]:
    """The numbers of tokens of the parts of a text, and the fault if it exceeds a limit: it is not parsed.

    `known` has numbers of tokens of parts, by their text.
    """
    sizes: dict[str, int] = {}
    if fault := check_length(source):
        return sizes, fault
    total = 0
    for start, end in split_text(source.text):
        text = source.text[start:end]
        size = known.get(text)
        sizes[text] = size = count_tokens(source, MAX_PART_TOKENS + 1, start, end) if size is None else size
        total += size
        if size > MAX_PART_TOKENS and count_tokens(source, MAX_TOKENS + 1) <= MAX_TOKENS:
            message = f"a statement has at most {MAX_PART_TOKENS:,} tokens"
            return sizes, _report_excess(find_token(source, MAX_PART_TOKENS, start), message)
        if size > MAX_PART_TOKENS or total > MAX_TOKENS:
            message = f"a plan file has at most {MAX_TOKENS:,} tokens"
            return sizes, _report_excess(find_token(source, MAX_TOKENS), message)
    return sizes, None


def _report_excess(token: Span, message: str) -> Diagnostic:
    return error("P005", message, Label(token, "one too many"))


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
