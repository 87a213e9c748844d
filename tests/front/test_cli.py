"""The command line: exit codes, what is printed, and what is never imported."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from parc import cli
from parc.diagnostic import Diagnostic, error
from parc.syntax import table
from parc.syntax.lark_tables import make_tables
from tests.front.plans import SEED, complete

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.parc").write_text(complete(""))
    (tmp_path / "seed.parc").write_text(SEED)
    (tmp_path / "bad.parc").write_text("let x = 1 / 0\n")
    (tmp_path / "idle.parc").write_text(complete("cluster farm { levels = [node: 8] }"))
    return tmp_path


@pytest.mark.parametrize(
    ("files", "code"),
    [
        (["good.parc"], 0),
        (["idle.parc"], 0),  # a warning alone
        (["bad.parc"], 1),
        (["good.parc", "bad.parc"], 1),
        (["none.parc"], 2),
        (["bad.parc", "none.parc"], 2),
    ],
)
def test_check_exits_by_what_it_finds(folder: Path, files: list[str], code: int) -> None:
    assert cli.main(["check", *(str(folder / file) for file in files)]) == code


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["chekc", "x"],
        ["check"],
        ["check", "x", "--format", "xml"],
        ["build", "x"],
        ["check", "x", "--nope"],
    ],
)
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        cli.main(arguments)
    assert exit.value.code == 2


def test_check_says_what_is_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(folder / "seed.parc")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{folder / 'seed.parc'}: plan wide, 128 ranks",
        "no faults",
        f"parc build runs the code of `{folder / 'moe.py'}`",
    ]


def test_check_in_one_line_a_fault(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--format", "concise", str(folder / "bad.parc")]) == 1
    assert capsys.readouterr().out == f"{folder / 'bad.parc'}:1:13: error[P110]: division by zero\n"


def test_check_with_settings(folder: Path) -> None:
    file = str(folder / "good.parc")
    assert cli.main(["check", file, "--set", "first.batch.microbatches=8"]) == 0
    assert cli.main(["check", file, "--set", "first.batch.microbatches=7"]) == 1


def test_the_pages_of_all_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rule", "--all"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert "P208  error    sequences-do-not-divide" in listed
    (tmp_path / "P999.md").write_text("of a rule that is no more")
    (tmp_path / "notes.md").write_text("not ours")
    assert cli.main(["rule", "--all", "-o", str(tmp_path)]) == 0
    written = {file.name for file in tmp_path.iterdir()}
    assert written == {f"{line[:4]}.md" for line in listed} | {"README.md", "notes.md"}
    assert "# sequences-do-not-divide" in (tmp_path / "P208.md").read_text()
    assert cli.main(["rule"]) == 2


def test_the_page_of_a_rule(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rule", "p208"]) == 0
    assert capsys.readouterr().out.startswith(
        "# sequences-do-not-divide (P208, error)\n\nThe batch cannot be divided"
    )
    assert cli.main(["rule", "P999"]) == 2
    assert "no rule P999" in capsys.readouterr().err


def test_without_torch_building_names_the_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert cli.main(["build", str(folder / "good.parc"), "-o", str(folder / "out")]) == 2
    told = capsys.readouterr().out
    assert "error[P601]" in told
    assert "pip install 'parc-compiler[torch]'" in told
    assert cli.main(["run", str(folder / "good.parc")]) == 2


def test_the_version_and_the_help_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("parc")
    with pytest.raises(SystemExit) as ended:
        cli.main(["help", "check"])
    assert ended.value.code == 0
    assert "parc check" in capsys.readouterr().out


def test_the_nearest_command_is_offered(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["chek", "a.parc"])
    assert ended.value.code == 2
    assert "did you mean `check`?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "meant"), [("--formt", "--format"), ("--unsafefixes", "--unsafe-fixes"), ("--other", None)]
)
def test_the_nearest_option_is_offered(
    given: str, meant: str | None, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["check", given, str(folder / "good.parc")])
    assert ended.value.code == 2
    message = f"unrecognized arguments: {given}" + (f": did you mean `{meant}`?" if meant else "")
    assert f"{message}\n" in capsys.readouterr().err


def test_a_plan_is_not_overwritten_by_a_picture(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = folder / "good.parc"
    text = plan.read_text()
    assert cli.main(["explain", "--html", str(plan), str(plan)]) == 1
    assert "P642" in capsys.readouterr().out
    assert plan.read_text() == text


class Driver:
    """Stands in for the compiler and remembers how it was called."""

    def __init__(self, faults: tuple[Diagnostic, ...] = (), code: int = 0) -> None:
        self.faults = faults
        self.code = code
        self.called: tuple[object, ...] = ()

    def build(self, *arguments: object, **options: object) -> SimpleNamespace:
        self.called = (*arguments, options)
        return SimpleNamespace(diagnostics=self.faults, validation=None)

    def run(self, *arguments: object) -> int:
        self.called = arguments
        return self.code


def install(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parc.driver.build", driver.build)
    monkeypatch.setattr("parc.driver.run", driver.run)


def test_build_hands_over_to_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver()
    install(driver, monkeypatch)
    assert cli.main(["build", "a.parc", "wide", "-o", "out", "--set", "a.b=1", "--set", "c=2"]) == 0
    given = (Path("a.parc"), "wide", Path("out"), ["a.b=1", "c=2"], False)
    assert driver.called == (*given, {"check": True, "force": False})
    assert cli.main(["build", "a.parc", "-o", "out", "--no-validate", "--force"]) == 0
    assert driver.called[-1] == {"check": False, "force": True}


def test_build_shows_what_the_driver_tells(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(Driver(faults=(error("P501", "no such factory"),)), monkeypatch)
    assert cli.main(["build", "a.parc", "-o", "out"]) == 1
    assert "error[P501]: no such factory" in capsys.readouterr().out


def test_run_hands_what_it_does_not_know_to_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(code=7)
    install(driver, monkeypatch)
    assert cli.main(["run", "a.parc", "--device", "cpu", "--steps", "5", "--resume"]) == 7
    assert driver.called == (Path("a.parc"), None, "cpu", ["--steps", "5", "--resume"], [], 0, False, True)


def test_run_may_compare_the_first_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver()
    install(driver, monkeypatch)
    assert cli.main(["run", "a.parc", "wide", "--compare", "20"]) == 0
    assert driver.called == (Path("a.parc"), "wide", None, [], [], 20, False, True)


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.parametrize("arguments", [["check", "SEED"], ["check", "BAD"], ["rule", "P208"]])
def test_the_front_end_imports_nothing_heavy(folder: Path, arguments: list[str]) -> None:
    """In a fresh process: what has once been imported here proves nothing."""
    arguments = [
        each.replace("SEED", str(folder / "seed.parc")).replace("BAD", str(folder / "bad.parc"))
        for each in arguments
    ]
    script = (
        "import sys; from parc.cli import main; main(sys.argv[1:]);"
        "print(sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = run_python("-c", script, *arguments)
    assert done.returncode == 0, done.stderr
    modules = done.stdout.splitlines()[-1]
    for heavy in ("torch", "rich", "pygls", "jinja2", "numpy", "hypothesis"):
        assert f"'{heavy}'" not in modules


SLOW = ("ast", "dataclasses", "hashlib", "inspect", "lark", "shutil", "textwrap", "tokenize")


def test_a_check_imports_nothing_that_is_slow_and_not_needed(folder: Path, tmp_path: Path) -> None:
    """With saved tables, as an installed parc has them; and its own named tuples are the quick ones."""
    table.save_tables(make_tables(), tmp_path / "table.bin")
    script = (
        "import sys; from pathlib import Path; from parc.syntax import table;"
        f"table.TABLE = Path({str(tmp_path / 'table.bin')!r});"
        "from parc.cli import main; main(sys.argv[1:]);"
        f"print([name for name in {SLOW} if name in sys.modules]);"
        "print([each.__qualname__ for each in tuple.__subclasses__() if each.__module__.startswith('parc.')"
        "       if each.__new__.__module__.startswith('namedtuple_')])"
    )
    done = run_python("-c", script, "check", str(folder / "seed.parc"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["[]", "[]"]


def test_python_m_parc(folder: Path) -> None:
    done = run_python("-m", "parc", "check", str(folder / "bad.parc"))
    assert (done.returncode, done.stderr) == (1, "")
    assert "\033" not in done.stdout  # not a terminal
