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
from parc.syntax import grammar, lark_tables, table
from parc.syntax.lark_tables import make_parser, make_tables


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    grammar.load_tables.cache_clear()
    yield
    grammar.load_tables.cache_clear()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An entry for each time that tables are made from the grammar."""
    calls: list[str] = []

    def make() -> table.Tables:
        calls.append("lark")
        return make_tables()

    monkeypatch.setattr(lark_tables, "make_tables", make)
    return calls


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tables of the current grammar, in the place of those that belong to the installed package."""
    path = tmp_path / "table.bin"
    monkeypatch.setattr(table, "TABLE", path)
    table.save_tables(make_tables(), path)
    return path


def test_saved_tables_are_used_and_are_those_of_the_grammar(saved: Path, calls: list[str]) -> None:
    loaded = grammar.load_tables()
    assert calls == []
    saved.unlink()
    grammar.load_tables.cache_clear()
    made = grammar.load_tables()
    assert calls == ["lark"]
    # Lark numbers its states as they come.
    assert (loaded[:4], sorted(loaded.rules), len(loaded.states)) == (
        made[:4],
        sorted(made.rules),
        len(made.states),
    )


def test_tables_of_another_grammar_are_not_used(
    saved: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One changed character of the grammar is enough, even in a comment."""
    text = table.read_grammar()
    monkeypatch.setattr(grammar, "read_grammar", lambda: text.replace("//", "///", 1))
    grammar.load_tables()
    assert calls == ["lark"]


def test_tables_of_another_python_are_not_used(
    saved: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 99, 0, "final", 0))
    grammar.load_tables()
    assert calls == ["lark"]


@pytest.mark.parametrize("damage", [b"", b"\x00", b"\xe9\x03"], ids=["empty", "odd", "cut off"])
def test_a_damaged_file_is_not_used(saved: Path, calls: list[str], damage: bytes) -> None:
    saved.write_bytes(damage)
    grammar.load_tables()
    assert calls == ["lark"]


def test_with_saved_tables_a_plan_is_checked_without_lark(saved: Path) -> None:
    script = "import sys\nfrom pathlib import Path\nfrom parc.syntax import table\n"
    script += f"table.TABLE = Path({str(saved)!r})\n"
    script += "from parc.cli import main\n"
    script += f"assert main(['check', {str(Path(__file__).parents[2] / 'examples' / 'seed.parc')!r}]) == 0\n"
    script += "assert 'lark' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_the_grammar_is_free_of_conflicts(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lark settles a shift against a reduction with no more than a line in its log."""
    monkeypatch.setattr(lark.logger, "level", logging.DEBUG)
    make_parser(table.read_grammar(), debug=True)
    assert "conflict" not in caplog.text
    ambiguous = 'file: (statement | junk)*\nstatement: "a" "b"?\noverride: "c"\njunk: "b"'
    make_parser(ambiguous, debug=True)
    assert "conflict" in caplog.text


def test_resources_are_found_beside_the_package_or_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "parc"
    (tmp_path / "site" / "grammar").mkdir(parents=True)
    monkeypatch.setattr(resources, "PACKAGE", package)
    assert resources.find_folder("grammar") == tmp_path / "site" / "grammar"
    (package / "grammar").mkdir(parents=True)
    assert resources.find_folder("grammar") == package / "grammar"
