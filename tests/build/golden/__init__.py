"""Plans, each in a folder with the text that it is compiled to, so that a change of the compiler is reviewed
as a change of what it emits.

    python -m tests.build.golden

compiles all plans and writes the files anew. Copies of `parc/runtime/` and the licence, and the lock, which
holds hashes, are left out.
"""

from __future__ import annotations

from difflib import unified_diff
from functools import cache
from pathlib import Path

from parc import driver
from parc.check.load import load

HERE = Path(__file__).parent
PLAN = "plan.parc"
REWRITE = "python -m tests.build.golden"
FOLDERS = sorted(file.parent for file in HERE.glob(f"*/{PLAN}"))


@cache
def compile_folder(folder: Path) -> driver.Compiled:
    """The program of the plan in a folder."""
    compiled = driver.compile_plan(load(folder / PLAN), None)
    assert isinstance(compiled, driver.Compiled), compiled
    assert not compiled.warnings
    return compiled


def emit_texts(folder: Path) -> dict[str, str]:
    """The files that the plan in a folder is compiled to, by their paths."""
    files = compile_folder(folder).files
    return {
        name: content.decode()
        for name, content in sorted(files.items())
        if not name.startswith("runtime/") and name not in ("plan.lock.json", "LICENSE")
    }


def read_texts(folder: Path) -> dict[str, str]:
    """The files beside the plan in a folder, by their paths."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != PLAN and path.suffix != ".pyc"
    }


def describe_difference(folder: Path) -> str:
    """The unified difference from the files in a folder to what the compiler emits, or an empty text."""
    committed, emitted = read_texts(folder), emit_texts(folder)
    return "".join(
        line
        for name in sorted({*committed, *emitted})
        for line in unified_diff(
            committed.get(name, "").splitlines(keepends=True),
            emitted.get(name, "").splitlines(keepends=True),
            f"{folder.name}/{name}",
            f"{folder.name}/{name}, as emitted",
        )
    )


def rewrite(folder: Path) -> None:
    """Makes the files in a folder those that the compiler emits."""
    emitted = emit_texts(folder)
    for name in {*read_texts(folder)} - {*emitted}:
        (folder / name).unlink()
    for name, text in emitted.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
