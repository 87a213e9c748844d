"""A session in headless Neovim with the set-up of editors/neovim: typing, fixing, hovering, renaming."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NVIM = shutil.which("nvim")
pytestmark = pytest.mark.skipif(NVIM is None, reason="Neovim is not installed: apt-get install neovim")

PLAN = """\
cluster here { levels = [node: 4], device { memory = 64 GB } }

model small {
  source = "moe.py:MoETransformer"
  shape  { layers = 4 }
}

train first {
  model     = small, seed = 1, steps = 10
  batch     { sequences = 16, length = 64 }
  optimizer = adamw { lr = 1e-3, decay = cosin }
}

plan wide for first on here {
  mesh = [dp: 4]
  data over   [dp]
}
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    pytest.importorskip("pygls", reason="pip install 'parc-compiler[lsp]'")
    folder = tmp_path_factory.mktemp("neovim")
    (folder / "plan.parc").write_text(PLAN)
    server = json.dumps([sys.executable, "-m", "parc", "lsp"])
    command = [
        str(NVIM),
        "--headless",
        "-u",
        "NONE",
        "--cmd",
        f"set runtimepath^={ROOT / 'editors' / 'neovim'}",
    ]
    command += ["--cmd", f"let g:parc_command = {server}", "--cmd", "filetype plugin on"]
    command += ["plan.parc", "-c", f"luafile {Path(__file__).with_name('session.lua')}"]
    environment = {**os.environ, "SEEN": str(folder / "seen.json"), "PYTHONPATH": str(ROOT)}
    environment |= {name: str(folder) for name in ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME")}
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=180)
    found: dict[str, Any] = json.loads((folder / "seen.json").read_text())
    assert "fault" not in found, found
    return found


def test_diagnostics_come_as_the_file_opens(seen: dict[str, Any]) -> None:
    assert (seen["diagnostics"], seen["line"], seen["source"]) == (["P107"], 11, "parc")


def test_a_hover_converts_a_quantity(seen: dict[str, Any]) -> None:
    assert "59.6046 GiB" in seen["hover"]  # 64e9 / 2^30


def test_a_quick_fix_is_applied(seen: dict[str, Any]) -> None:
    assert any("cosine" in title for title in seen["actions"])
    assert "  optimizer = adamw { lr = 1e-3, decay = cosine }" in seen["renamed"]


def test_completion_knows_the_keys_of_the_block(seen: dict[str, Any]) -> None:
    assert {"loss", "dataset", "precision"} <= set(seen["completion"])


def test_an_axis_is_renamed_wherever_it_stands(seen: dict[str, Any]) -> None:
    assert seen["renamed"][-2:] == ["  data over   [data_axis]", "}"]
    assert "  mesh = [data_axis: 4]" in seen["renamed"]


def test_the_file_is_formatted(seen: dict[str, Any]) -> None:
    assert seen["formatted"][-2:] == ["  data over [data_axis]", "}"]


def test_lenses_that_are_offered_can_be_run(seen: dict[str, Any]) -> None:
    """`build` is not among them, as the folder is not trusted."""
    assert [each for each in seen["lenses"] if each] == ["parc.picture"]
    assert seen["page"].startswith("<!doctype html>")
    assert "<h1>wide</h1>" in seen["page"]


def test_a_build_is_asked_for_first_and_runs_beside_the_file(seen: dict[str, Any]) -> None:
    assert seen["question"] == "Building runs your model. Build `wide`?"
    (run,) = seen["built"]  # once: the first answer was no
    assert run[-5] == "build"
    assert [Path(each).name for each in run[-4:]] == ["plan.parc", "wide", "-o", "plan.wide"]
