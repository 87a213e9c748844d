"""The tables of the lexer and the parser, and the file in which they are saved when parc is built.

Saved tables are used only if they were made from the grammar as it is now. They are plain numbers and
strings, so that a check does not import lark, which would take a quarter of its time.
"""

from __future__ import annotations

import marshal
import sys
from pathlib import Path
from typing import Any

from parc import resources
from parc.named_tuple import NamedTuple

TABLE = Path(__file__).with_name("table.bin")


class Rule(NamedTuple):
    """A rule of the grammar, and what becomes of the symbols that it replaces."""

    name: str
    size: int  # number of symbols
    data: str  # the name of its node
    kept: tuple[int, ...]  # indices of the symbols that become children
    inlined: tuple[int, ...]  # indices of those whose children become children instead
    single: bool  # an only child replaces the node


class Tables(NamedTuple):
    terminals: str  # a regular expression with a named group for each terminal
    flags: int
    ignored: tuple[str, ...]
    keywords: dict[str, str]  # kinds of the names that are keywords
    states: dict[int, dict[str, int]]  # by kind of symbol: the next state, or ~ the index of a rule
    rules: tuple[Rule, ...]
    starts: dict[str, tuple[int, int]]  # the first state and the last


def load_saved_tables(grammar: str) -> Tables | None:
    """The saved tables; None if there are none, or if they were made from another grammar."""
    try:
        made_from, fields, rules = marshal.loads(TABLE.read_bytes())
    except (OSError, EOFError, ValueError, TypeError):  # missing, cut off, or written by another Python
        return None
    if made_from != _describe_origin(grammar):
        return None
    return Tables(**fields, rules=tuple(map(Rule._make, rules)))


def save_tables(tables: Tables, path: Path = TABLE) -> None:
    """Write tables that were made from the current grammar."""
    fields = tables._asdict()
    rules = tuple(tuple(rule) for rule in fields.pop("rules"))
    saved: Any = (_describe_origin(read_grammar()), fields, rules)
    path.write_bytes(marshal.dumps(saved))


def _describe_origin(grammar: str) -> tuple[object, ...]:
    """What saved tables depend on: the grammar, the layout of the tables, and the version of Python."""
    return (grammar, Tables._fields, Rule._fields, sys.version_info[:2])


def read_grammar() -> str:
    return (resources.find_folder("grammar") / "parc.lark").read_text(encoding="utf-8")
