"""The lexer's and the parser's tables: as saved when the package was built, or from the grammar where those
are stale.

Lark makes them. What is saved is plain numbers and strings, so that reading a plan needs no lark: to import
it takes a quarter of the time of a check.
"""

from __future__ import annotations

import marshal
import sys
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from parc import resources

if TYPE_CHECKING:
    import lark

TABLE = Path(__file__).with_name("table.bin")
STARTS = ("file", "override", "junk")


class Rule(NamedTuple):
    """A rule of the grammar, and what becomes of the symbols that it stands for."""

    name: str
    size: int  # how many symbols there are
    data: str  # the name of its node
    kept: tuple[int, ...]  # the symbols that become children
    inlined: tuple[int, ...]  # of which the own children do
    single: bool  # an only child stands for it


class Tables(NamedTuple):
    terminals: str  # a regular expression with a named group for each
    flags: int
    ignored: tuple[str, ...]
    keywords: dict[str, str]  # the kinds of names that are none
    states: dict[int, dict[str, int]]  # by kinds of symbols the next state, or ~ the number of a rule
    rules: tuple[Rule, ...]
    starts: dict[str, tuple[int, int]]  # the first state and the last


def _grammar() -> str:
    return (resources.folder("grammar") / "parc.lark").read_text(encoding="utf-8")


def _digest(grammar: str) -> bytes:
    """What saved tables depend on: the grammar, and who reads them."""
    return sha256(f"{Tables._fields} {Rule._fields} {sys.version_info[:2]} {grammar}".encode()).digest()


def _from_grammar(grammar: str, debug: bool = False) -> lark.Lark:
    import lark

    return lark.Lark(
        grammar,
        parser="lalr",
        lexer="basic",
        start=list(STARTS),
        propagate_positions=True,
        maybe_placeholders=False,
        debug=debug,
    )


@cache
def parser() -> lark.Lark:
    """Lark's own."""
    return _from_grammar(_grammar())


def _made(made: lark.Lark) -> Tables:
    from lark.lexer import BasicLexer
    from lark.parsers.lalr_analysis import Shift

    lexer = BasicLexer(made.lexer_conf)
    scanned = {each.name: each.pattern.to_regexp() for each in lexer.scanner.terminals}
    confs = {start: made.parse_interactive("", start=start).parser_state.parse_conf for start in STARTS}
    numbers: dict[object, int] = {}
    states = {
        state: {
            str(kind): target if step is Shift else ~numbers.setdefault(target, len(numbers))
            for kind, (step, target) in actions.items()
        }
        for state, actions in confs["file"].states.items()
    }
    return Tables(
        "|".join(f"(?P<{name}>{pattern})" for name, pattern in scanned.items()),
        int(lexer.g_regex_flags),
        tuple(sorted(lexer.ignore_types)),
        {each.pattern.value: each.name for each in lexer.terminals if each.name not in scanned},
        states,
        tuple(map(_rule, numbers)),
        {start: (conf.start_state, conf.end_state) for start, conf in confs.items()},
    )


def _rule(rule: object) -> Rule:
    """As lark reads the options of its rules."""
    from lark.grammar import NonTerminal, Terminal
    from lark.grammar import Rule as Larks

    assert isinstance(rule, Larks)
    symbols, options = rule.expansion, rule.options
    kept = [
        at
        for at, each in enumerate(symbols)
        if options.keep_all_tokens or not (isinstance(each, Terminal) and each.filter_out)
    ]
    inlined = [at for at in kept if isinstance(symbols[at], NonTerminal) and symbols[at].name.startswith("_")]
    name = str(rule.origin.name)
    single = bool(options.expand1 and not rule.alias)
    return Rule(name, len(symbols), str(rule.alias or name), tuple(kept), tuple(inlined), single)


def save(path: Path = TABLE) -> None:
    """Write the tables, after the digest of what they were made from."""
    grammar = _grammar()
    made = _made(_from_grammar(grammar))
    plain: Any = (*made[:5], tuple(tuple(rule) for rule in made.rules), made.starts)
    path.write_bytes(_digest(grammar) + marshal.dumps(plain))


@cache
def read() -> Tables:
    grammar = _grammar()
    digest = _digest(grammar)
    saved = TABLE.read_bytes() if TABLE.is_file() else b""
    if not saved.startswith(digest):
        return _made(parser())
    tables = Tables._make(marshal.loads(saved[len(digest) :]))
    return tables._replace(rules=tuple(map(Rule._make, tables.rules)))
