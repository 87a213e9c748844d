"""The tables of the grammar, as the lexer and the parser need them."""

from __future__ import annotations

from functools import cache

from parc.syntax.table import Tables, load_saved_tables, read_grammar


@cache
def load_tables() -> Tables:
    """The saved tables if they are valid, otherwise new ones from the grammar."""
    saved = load_saved_tables(read_grammar())
    if saved is not None:
        return saved
    from parc.syntax.lark_tables import make_tables  # noqa: PLC0415 - start-up time: it imports lark

    return make_tables()
