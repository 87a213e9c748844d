"""Options of a program: nonsense is an error of use, missing files a line."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from parc.runtime.process.options import folder, positive_float, positive_int, report_faults


@pytest.mark.parametrize("text", ["-3", "0", "1.5", "1e3", "", "many", "³"])
def test_a_number_of_steps_is_whole_and_above_0(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="whole number above 0"):
        positive_int(text)
    assert positive_int("12") == 12


@pytest.mark.parametrize("text", ["-1e-3", "0", "nan", "inf", "", "fast"])
def test_a_rate_is_finite_and_above_0(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="finite number above 0"):
        positive_float(text)
    assert positive_float("3e-4") == 3e-4


def test_a_folder_is_there(tmp_path: Path) -> None:
    assert folder(str(tmp_path)) == tmp_path
    with pytest.raises(ArgumentTypeError, match="there is no folder"):
        folder(str(tmp_path / "none"))


@pytest.mark.parametrize("fault", [FileNotFoundError("no file matches"), ValueError("too few ids")])
def test_what_is_wrong_with_files_ends_the_program_with_a_line(fault: Exception) -> None:
    with pytest.raises(SystemExit, match=f"error: {fault}"), report_faults():
        raise fault
