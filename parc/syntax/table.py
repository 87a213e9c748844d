"""The LALR parser: from the table saved when the package was built, or from the grammar where that is stale.

The table is a pickle, so it is only ever read from inside the package, never from a shared folder.
"""

from __future__ import annotations

import sys
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import lark
from lark.lexer import BasicLexer

from parc import resources

TABLE = Path(__file__).with_name("table.bin")


def _grammar() -> str:
    return (resources.folder("grammar") / "parc.lark").read_text(encoding="utf-8")


def _digest(grammar: str) -> bytes:
    """What a table depends on: the grammar, and who wrote and who reads the pickle."""
    return sha256(f"{lark.__version__} {sys.version_info[:2]} {grammar}".encode()).digest()


def _from_grammar(grammar: str, debug: bool = False) -> lark.Lark:
    return lark.Lark(
        grammar,
        parser="lalr",
        lexer="basic",
        start=["file", "override", "junk"],
        propagate_positions=True,
        maybe_placeholders=False,
        debug=debug,
    )


def save(path: Path = TABLE) -> None:
    """Write the table, after the digest of what it was made from."""
    grammar = _grammar()
    table = BytesIO()
    _from_grammar(grammar).save(table)
    path.write_bytes(_digest(grammar) + table.getvalue())


@cache
def parser() -> lark.Lark:
    grammar = _grammar()
    digest = _digest(grammar)
    saved = TABLE.read_bytes() if TABLE.is_file() else b""
    if saved.startswith(digest):
        made = lark.Lark.load(BytesIO(saved[len(digest) :]))
    else:
        made = _from_grammar(grammar)
    made.lexer = BasicLexer(made.lexer_conf)  # kept: lark would make one anew for each text
    return made
