"""Imports that mean no good: what is no plan file, what is elsewhere, what never ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from parc import cli
from parc.check.load import load
from parc.plan.imports import MAX_BYTES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project inside of another folder."""
    folder = tmp_path / "project"
    (folder / ".git").mkdir(parents=True)
    (tmp_path / "outside.parc").write_text("let far = 1\n")
    return folder


def write_import(folder: Path, path: str, name: str = "a.parc") -> Path:
    file = folder / name
    file.write_text(f'import "{path}"\n')
    return file


def list_labels(file: Path, outside: bool = False) -> list[tuple[str, str]]:
    """(code, what is said beside the import)"""
    return [(each.code, each.labels[0].text) for each in load(file, (), outside).diagnostics]


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe.parc")
    fault = ("P112", f"`{folder / 'pipe.parc'}` is not a regular file")
    assert list_labels(write_import(folder, "pipe.parc")) == [fault]


def test_a_device_is_not_read(folder: Path) -> None:
    (folder / "zero.parc").symlink_to("/dev/zero")
    file = write_import(folder, "zero.parc")
    assert list_labels(file) == [("P114", "outside `project`")]
    assert list_labels(file, outside=True) == [("P112", "`/dev/zero` is not a regular file")]


def test_a_folder_is_no_file(folder: Path) -> None:
    (folder / "dir.parc").mkdir()
    assert [code for code, _ in list_labels(write_import(folder, "dir.parc"))] == ["P112"]


def test_of_a_huge_file_little_is_read(folder: Path) -> None:
    huge = folder / "huge.parc"
    with huge.open("wb") as file:
        file.truncate(1 << 34)  # 16 GB, of which none is on the disk
    ((code, why),) = list_labels(write_import(folder, "huge.parc"))
    assert code == "P112"
    assert why == f"`{huge}` exceeds {MAX_BYTES:,} bytes, the limit of a plan file"
    assert [each.code for each in load(huge).diagnostics] == ["P005"]


def test_a_device_on_the_command_line_ends(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "/dev/zero"]) == 1
    assert "P005" in capsys.readouterr().out
    assert cli.main(["fmt", "/dev/zero"]) == 2


@pytest.mark.parametrize(
    "path",
    ["../outside.parc", "{}/outside.parc", "sub/../../outside.parc", "link.parc", "sub/link/outside.parc"],
)
def test_imports_leave_the_project_only_when_they_may(
    folder: Path, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "link").symlink_to(folder.parent)
    (folder / "link.parc").symlink_to(folder.parent / "outside.parc")
    file = write_import(folder, path.format(folder.parent))
    assert cli.main(["check", str(file)]) == 1
    said = capsys.readouterr().out
    assert "error[P114]: imports must stay inside the folder of the project" in said
    assert "= help: `--allow-outside-imports` permits this" in said
    assert cli.main(["check", "--allow-outside-imports", str(file)]) == 0


def test_the_project_is_the_nearest_folder_that_says_so_or_the_files_own(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "lib.parc").write_text("let x = 1\n")
    file = write_import(tmp_path / "a" / "b", "../lib.parc")
    assert list_labels(file) == [("P114", "outside `b`")]
    (tmp_path / "a" / "pyproject.toml").write_text("")
    assert list_labels(file) == []
    (tmp_path / "a" / "b" / ".git").write_text("gitdir: elsewhere")  # as in a worktree
    assert list_labels(file) == [("P114", "outside `b`")]


def test_links_in_a_loop_and_what_is_no_path(folder: Path) -> None:
    (folder / "loop.parc").symlink_to(folder / "loop.parc")
    assert [code for code, _ in list_labels(write_import(folder, "loop.parc"))] == ["P112"]
    assert [code for code, _ in list_labels(write_import(folder, "\\0"))] == ["P112"]
    assert [code for code, _ in list_labels(write_import(folder, "x" * 5000))] == ["P112"]


def test_circles_end(folder: Path) -> None:
    """Of itself, through a link to itself, and of three."""
    assert [code for code, _ in list_labels(write_import(folder, "a.parc"))] == ["P113"]
    (folder / "link.parc").symlink_to(folder / "a.parc")
    assert [code for code, _ in list_labels(write_import(folder, "link.parc"))] == ["P113"]
    write_import(folder, "c.parc", "b.parc")
    write_import(folder, "a.parc", "c.parc")
    assert [code for code, _ in list_labels(write_import(folder, "b.parc"))] == ["P113"]


def test_a_chain_without_end_is_cut(folder: Path) -> None:
    for number in range(200):
        write_import(folder, f"{number + 1}.parc", f"{number}.parc")
    assert [code for code, _ in list_labels(folder / "0.parc")] == ["P005"]


def test_many_that_import_all_others_are_read_once_each(folder: Path) -> None:
    """Without that, 2^60 of them would be."""
    for number in range(60):
        lines = "".join(f'import "{other}.parc"\n' for other in range(number + 1, 60))
        (folder / f"{number}.parc").write_text(f"{lines}let x{number} = 1\n")
    loaded = load(folder / "0.parc")
    assert loaded.diagnostics == ()
    assert len(loaded.sources) == 60
