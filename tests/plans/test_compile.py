"""`parc build` reports nothing of these plans; the verifier and a linter accept what it makes of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from parc import driver
from parc.ir.verifier import find_inconsistencies

FILES = sorted((Path(__file__).parent / "compile").glob("*.parc"))
RUFF = str(Path(sys.executable).with_name("ruff"))
STYLE = ("--isolated", "--no-cache", "--line-length=110", "--target-version=py311")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_plan_is_compiled(file: Path, tmp_path: Path) -> None:
    compiled = driver.compile_plan(driver.load(file), None)
    assert isinstance(compiled, driver.Compiled), compiled
    assert compiled.warnings == ()
    sizes = {axis.name: axis.size for axis in compiled.plan.mesh.axes}
    assert list(find_inconsistencies(compiled.program, sizes)) == []
    for name, content in compiled.files.items():
        if name.endswith(".py") and "/" not in name:
            compile(content, name, "exec")
            (tmp_path / name).write_bytes(content)
    for command in (["check", "--select=E,F,B,UP"], ["format", "--diff"]):
        done = subprocess.run([RUFF, *command, *STYLE, tmp_path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
