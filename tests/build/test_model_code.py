"""Which code building runs: that of the project, or of a package for models; no factory of other things."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from parc import cli, driver
from parc.check.load import load
from tests.build.projects import Project, Told

SHELL = """source = "subprocess:Popen"
  arguments { args = "touch made-by-the-plan.txt", shell = true }"""
MODEL = """source = "net.py:Net"
  arguments { layers = 2 }"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "project" / ".git").mkdir(parents=True)
    return Project(tmp_path / "project")


def build(project: Project, *, outside: bool = False) -> list[Told]:
    found = driver.build(project.write(), None, project.out, (), outside, check=False).diagnostics
    return [Told(each) for each in found]


@pytest.mark.parametrize("outside", [False, True])
def test_a_plan_cannot_run_a_shell(project: Project, tmp_path: Path, outside: bool) -> None:
    project.says(MODEL, SHELL)
    (fault,) = build(project, outside=outside)
    assert fault.code == ("P502" if outside else "P501")
    assert ("not called" if outside else "nor an installed package that depends on torch") in fault.words
    assert fault.line == 'source = "subprocess:Popen"'
    assert not list(tmp_path.rglob("made-by-the-plan.txt"))


@pytest.mark.parametrize("package", ["os", "sys", "json.decoder", "jinja2", "pytest"])
def test_packages_that_have_nothing_to_do_with_torch_are_not_imported(project: Project, package: str) -> None:
    (fault,) = build(project.says(MODEL, f'source = "{package}:Thing"'))
    assert fault.code == "P501"
    assert f"`{package.partition('.')[0]}` is neither in the project" in fault.words


def test_torch_itself_may_be_named(project: Project) -> None:
    faults = build(project.says(MODEL, 'source = "torch.nn:Linearr"'))
    assert ["`torch.nn` has no `Linearr`" in each.words for each in faults] == [True]


def test_a_package_of_the_project_may_be_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(project.folder))
    monkeypatch.delitem(sys.modules, "own_nets", raising=False)
    (project.folder / "own_nets").mkdir()
    (project.folder / "own_nets" / "__init__.py").write_text("")
    (fault,) = build(project.says(MODEL, 'source = "own_nets:Net"'))
    assert "`own_nets` has no `Net`" in fault.words


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("class Net:\n    def __init__(self, **_):\n        1 / 0\n", "is a class, and no torch.nn.Module"),
        ("def Net(**_) -> int:\n    return 1 / 0\n", "returns `int`"),
        ("Net = 3\n", "is `int`, which cannot be called"),
    ],
)
def test_what_cannot_return_a_module_is_not_called(project: Project, factory: str, words: str) -> None:
    project.net = factory
    (fault,) = build(project)
    assert fault.code == "P502"
    assert words in fault.words


@pytest.mark.parametrize("source", ["../net.py", "{}/net.py", "link.py", "sub/../../net.py", "away/net.py"])
def test_a_model_outside_of_the_project_needs_a_flag(project: Project, tmp_path: Path, source: str) -> None:
    (tmp_path / "net.py").write_text(project.net)
    (project.folder / "sub").mkdir()
    (project.folder / "link.py").symlink_to(tmp_path / "net.py")
    (project.folder / "away").symlink_to(tmp_path)
    project.says('"net.py:Net"', f'"{source.format(tmp_path)}:Net"')
    (fault,) = build(project)
    assert fault.code == "P114"
    assert "`--allow-outside-imports` permits this" in fault.words
    assert load(project.folder / "plan.parc", outside=True).ok


def test_check_says_which_code_a_build_runs(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    file = project.write()
    assert cli.main(["check", str(file)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"parc build runs the code of `{project.folder / 'net.py'}`"
    project.says(MODEL, SHELL).write()
    assert cli.main(["check", str(file)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "parc build runs the code of the package `subprocess`"
