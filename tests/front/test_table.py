"""The saved parse table: used where it fits the grammar, and only there."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import lark
import pytest

from parc import resources
from parc.syntax import table


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    table.parser.cache_clear()
    yield
    table.parser.cache_clear()


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How parsers were made."""
    made: list[str] = []
    load, build = lark.Lark.load, table._from_grammar

    def loaded(file: BytesIO) -> lark.Lark:
        made.append("loaded")
        return load(file)

    def built(grammar: str) -> lark.Lark:
        made.append("built")
        return build(grammar)

    monkeypatch.setattr(lark.Lark, "load", loaded)
    monkeypatch.setattr(table, "_from_grammar", built)
    return made


def test_a_saved_table_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "TABLE", tmp_path / "table.bin")
    table.save(table.TABLE)
    made = counted(monkeypatch)
    assert table.parser().parse("let a = 1", start="file").data == "file"
    assert made == ["loaded"]


def test_without_a_table_the_grammar_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "TABLE", tmp_path / "none.bin")
    made = counted(monkeypatch)
    table.parser()
    assert made == ["built"]


def test_a_table_of_another_grammar_is_not_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = tmp_path / "table.bin"
    monkeypatch.setattr(table, "TABLE", stale)
    table.save(stale)
    stale.write_bytes(bytes(32) + stale.read_bytes()[32:])
    made = counted(monkeypatch)
    table.parser()
    assert made == ["built"]


def test_the_grammar_is_free_of_conflicts(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lark settles a shift against a reduction with no more than a line in its log."""
    monkeypatch.setattr(lark.logger, "level", logging.DEBUG)
    table._from_grammar((resources.folder("grammar") / "parc.lark").read_text(), debug=True)
    assert "conflict" not in caplog.text
    ambiguous = 'file: (statement | junk)*\nstatement: "a" "b"?\noverride: "c"\njunk: "b"'
    table._from_grammar(ambiguous, debug=True)
    assert "conflict" in caplog.text


def test_resources_are_found_beside_the_package_or_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "parc"
    (tmp_path / "site" / "grammar").mkdir(parents=True)
    monkeypatch.setattr(resources, "PACKAGE", package)
    assert resources.folder("grammar") == tmp_path / "site" / "grammar"
    (package / "grammar").mkdir(parents=True)
    assert resources.folder("grammar") == package / "grammar"
