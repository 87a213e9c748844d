"""The emitted text of eight plans of four models is the one that was reviewed, and it runs as it stands."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from parc.resources import PACKAGE
from parc.verify.numbers.compare import compare_program, save_reference
from parc.verify.sample.tokens import Tokens
from tests.build.golden import FOLDERS, HERE, REWRITE, compile_folder, describe_difference
from tests.verify.test_equality import TOLERANCE


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_emitted_text_is_the_one_that_was_reviewed(folder: Path) -> None:
    if difference := describe_difference(folder):
        pytest.fail(f"{difference}\nIf this is intended, rewrite the files with: {REWRITE}", pytrace=False)


def test_the_text_computes_what_the_model_computes(tmp_path: Path) -> None:
    """Every gradient and parameter of three steps in float64, of the files as they are in the repository."""
    program, reference = tmp_path / "program", tmp_path / "reference.pt"
    shutil.copytree(HERE / "everything", program)
    shutil.copytree(PACKAGE / "runtime", program / "runtime")
    compiled = compile_folder(HERE / "everything")
    data = Tokens(vocabulary=256)
    save_reference(compiled.plan, compiled.captured.recipes, data, 3, reference)
    worst, *_ = compare_program(compiled.plan.mesh.size, program, data, reference)
    assert worst.error < TOLERANCE, worst
