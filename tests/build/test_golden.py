"""The emitted text of eight plans of four models is the one that was reviewed, and it runs as it stands."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from parc.resources import PACKAGE
from parc.verify.sample.sample import Sample, SampleRun
from parc.verify.sample.tokens import Tokens
from tests.build.golden import FOLDERS, HERE, REWRITE, compile_folder, describe_difference
from tests.verify.sample_runs import find_worst_in


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_emitted_text_is_the_one_that_was_reviewed(folder: Path) -> None:
    if difference := describe_difference(folder):
        pytest.fail(f"{difference}\nIf this is intended, rewrite the files with: {REWRITE}", pytrace=False)


def test_the_text_computes_what_the_model_computes(tmp_path: Path) -> None:
    """Every gradient and parameter of three steps in float64, of the files as they are in the repository."""
    program = tmp_path / "program"
    shutil.copytree(HERE / "everything", program)
    shutil.copytree(PACKAGE / "runtime", program / "runtime")
    compiled = compile_folder(HERE / "everything")
    sample = Sample(compiled.plan, compiled.captured, compiled.program, compiled.files)
    worst = find_worst_in(SampleRun(sample, program, Tokens(vocabulary=256), timeout=600.0))
    assert worst.used < 1, worst
