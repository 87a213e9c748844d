"""`PYTHONOPTIMIZE=2` takes docstrings and assertions away: pages and programs stay as they are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE = '''
class Documented:
    """It has one, and `a "quote"`.

    In two paragraphs.
    """

class Plain:
    pass

class Other(Documented):
    __doc__ = "computed"

def function():
    "short"
'''


def run(level: str, *arguments: str, folder: Path = ROOT) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "PYTHONOPTIMIZE": level}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=folder)
    return done.stdout


def test_docstrings_are_read_from_the_source(tmp_path: Path) -> None:
    (tmp_path / "some.py").write_text(MODULE)
    code = (
        "import some; from parc.docstrings import read_docstring; from inspect import cleandoc\n"
        "print([cleandoc(read_docstring(getattr(some, each))) for each in dir(some) if each[0] != '_'])"
    )
    found = run("0", "-c", code, folder=tmp_path)
    assert "In two paragraphs." in found
    assert "computed" in found
    assert run("2", "-c", code, folder=tmp_path) == found


def test_the_page_of_a_rule_stays() -> None:
    assert run("2", "-m", "parc", "rule", "P208") == run("0", "-m", "parc", "rule", "P208")


@pytest.mark.slow
def test_a_program_stays(tmp_path: Path) -> None:
    built = []
    for level in ("0", "2"):
        folder = tmp_path / level
        run(level, "-m", "parc", "build", "examples/quickstart.parc", "--no-validate", "-o", str(folder))
        built.append({path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()})
    assert built[0] == built[1]
