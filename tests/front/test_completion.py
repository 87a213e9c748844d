"""`parc completion SHELL`, asked by the shells themselves."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from parc.cli import main

ASK_BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_shtab_parc
printf '%s\\n' "${COMPREPLY[@]}"
"""
ASK_FISH = 'source $argv[1]; complete -C "$argv[2]" | string split -f1 \\t; true'


def write_script(shell: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["completion", shell]) == 0
    file = folder / f"parc.{shell}"
    file.write_text(capsys.readouterr().out)
    return file


def run(*command: str, cwd: Path) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=True, timeout=60)
    return done.stdout.split()


def find_shell(shell: str) -> str:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed: apt-get install {shell}")
    return path


CASES = [
    (["parc", "che"], ["check"]),
    (["parc", "check", "--forma"], ["--format"]),
    (["parc", "check", "my_p"], ["my_plan.parc"]),
]


@pytest.mark.parametrize(("words", "answer"), CASES)
def test_bash(
    words: list[str], answer: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_plan.parc").touch()
    file = write_script("bash", tmp_path, capsys)

    assert run(find_shell("bash"), "-c", ASK_BASH, "bash", str(file), *words, cwd=tmp_path) == answer


@pytest.mark.parametrize(("words", "answer"), CASES)
def test_fish(
    words: list[str], answer: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_plan.parc").touch()
    file = write_script("fish", tmp_path, capsys)

    assert run(find_shell("fish"), "-c", ASK_FISH, str(file), " ".join(words), cwd=tmp_path) == answer


def test_zsh_reads_the_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_script("zsh", tmp_path, capsys)

    run(find_shell("zsh"), "-n", str(file), cwd=tmp_path)
    assert file.read_text().startswith("#compdef parc")  # by which zsh finds it


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_choice_is_completed(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "sarif" in write_script(shell, tmp_path, capsys).read_text()
