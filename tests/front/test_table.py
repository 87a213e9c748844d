"""The saved parse table: used where it fits the grammar, and only there."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import lark
import pytest

from parc import resources
from parc.syntax import table


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    table.read.cache_clear()
    yield
    table.read.cache_clear()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An entry for each time that lark is asked."""
    asked: list[str] = []
    ask = table.parser

    def parser() -> lark.Lark:
        asked.append("lark")
        return ask()

    monkeypatch.setattr(table, "parser", parser)
    return asked


def test_saved_tables_are_used_and_are_those_of_the_grammar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    monkeypatch.setattr(table, "TABLE", tmp_path / "table.bin")
    table.save(table.TABLE)
    saved = table.read()
    assert asked == []
    table.TABLE.unlink()
    table.read.cache_clear()
    made = table.read()
    assert asked == ["lark"]
    # Lark numbers its states as they come.
    assert (saved[:4], sorted(saved.rules), len(saved.states)) == (
        made[:4],
        sorted(made.rules),
        len(made.states),
    )


def test_tables_of_another_grammar_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    stale = tmp_path / "table.bin"
    monkeypatch.setattr(table, "TABLE", stale)
    table.save(stale)
    stale.write_bytes(bytes(32) + stale.read_bytes()[32:])
    table.read()
    assert asked == ["lark"]


def test_with_saved_tables_a_plan_is_checked_without_lark(tmp_path: Path) -> None:
    table.save(tmp_path / "table.bin")
    said = "import sys\nfrom pathlib import Path\nfrom parc.syntax import table\n"
    said += f"table.TABLE = Path({str(tmp_path / 'table.bin')!r})\n"
    said += "from parc.cli import main\n"
    said += f"assert main(['check', {str(Path(__file__).parents[2] / 'examples' / 'seed.parc')!r}]) == 0\n"
    said += "assert 'lark' not in sys.modules"
    subprocess.run([sys.executable, "-c", said], check=True, stdout=subprocess.DEVNULL)


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
