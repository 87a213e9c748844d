"""`parc check` as it is used: formats, many files, watching."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from parc import cli
from parc.commands.check_files import Result, check_files
from parc.commands.watch import watch
from tests.front.plans import complete

BAD = "let x = 1 / 0\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.parc").write_text(complete(""))
    (tmp_path / "bad.parc").write_text(BAD)
    return tmp_path


@pytest.mark.parametrize("form", ["json", "sarif", "github"])
def test_other_tools_get_nothing_but_the_format(
    folder: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["check", "--format", form, str(folder / "bad.parc")]) == 1
    told = capsys.readouterr().out
    assert "P110" in told
    assert cli.main(["check", "--format", form, str(folder / "good.parc")]) == 0
    clean = capsys.readouterr().out
    assert "P110" not in clean
    if form != "github":
        json.loads(told)
        json.loads(clean)


def test_exit_zero_forgives_the_plan_and_not_the_caller(folder: Path) -> None:
    assert cli.main(["check", "--exit-zero", str(folder / "bad.parc")]) == 0
    assert cli.main(["check", "--exit-zero", str(folder / "none.parc")]) == 2


def test_a_fault_that_two_files_import_is_reported_once(folder: Path) -> None:
    for name in ("one.parc", "two.parc"):
        (folder / name).write_text('import "bad.parc"\n')
    found = check_files([folder / "one.parc", folder / "two.parc", folder / "bad.parc"], [])
    assert [each.code for each in found.diagnostics] == ["P110"]
    assert found.files == {folder / "one.parc", folder / "two.parc", folder / "bad.parc"}
    (folder / "other.parc").write_text(BAD)  # the same fault in another file
    assert len(check_files([folder / "bad.parc", folder / "other.parc"], []).diagnostics) == 2


def test_all_plans_of_all_files_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [folder / "good.parc", folder / "other.parc"]
    files[1].write_text(complete("").replace("wide", "narrow"))
    assert cli.main(["check", *map(str, files)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{files[0]}: plan wide, 4 ranks",
        f"{files[1]}: plan narrow, 4 ranks",
        "no faults",
        f"parc build runs the code of `{folder / 'moe.py'}`",
    ]


# Watching


class Desk:
    """Somebody who changes files while parc watches, one change at every other look, and then goes home."""

    def __init__(self, files: list[Path], *changes: Callable[[], object]) -> None:
        self.files = files
        self.changes = list(changes)
        self.told: list[list[str]] = []
        self.looks = 0

    def run(self) -> Result:
        found = check_files(self.files, [])
        self.told.append([each.code for each in found.diagnostics])
        return found

    def pause(self) -> None:
        self.looks += 1
        if self.looks % 2:
            if not self.changes:
                raise KeyboardInterrupt
            return
        self.changes.pop(0)()

    def work(self) -> list[list[str]]:
        with pytest.raises(KeyboardInterrupt):
            watch(self.run, self.pause)
        return self.told


def test_watching_checks_again_when_a_file_changes_goes_or_comes(folder: Path) -> None:
    bad = folder / "bad.parc"
    desk = Desk(
        [bad],
        lambda: bad.write_text("let x = 1 / 1\n# longer"),
        bad.unlink,
        lambda: bad.write_text(BAD),
    )
    assert desk.work() == [["P110"], [], ["P009"], ["P110"]]


def test_watching_sees_what_is_imported(folder: Path) -> None:
    (folder / "one.parc").write_text('import "bad.parc"\n')
    desk = Desk([folder / "one.parc"], lambda: (folder / "bad.parc").write_text("let x = 1"))
    assert desk.work() == [["P110"], []]


def test_a_change_while_it_checks_is_not_missed(folder: Path) -> None:
    bad = folder / "bad.parc"
    desk = Desk([bad], lambda: bad.write_text(BAD + "# touched"))
    run = desk.run

    def slowly() -> Result:
        found = run()
        if len(desk.told) == 2:
            bad.write_text("let x = 1")
        return found

    desk.run = slowly  # type: ignore[method-assign]
    assert desk.work() == [["P110"], ["P110"], []]


def test_interrupting_ends_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupted)
    assert cli.main(["check", "--watch", str(folder / "bad.parc")]) == 130
