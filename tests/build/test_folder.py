"""The folder that is written: whole or not at all, only where `-o` says, over nothing that is not parc's."""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from parc import cli, driver
from parc.check.load import load
from parc.emit import write as writing
from parc.emit.scratch import make_scratch, make_temporary
from tests.build.projects import ALL, ALONE, DATA, TENSOR, Project

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# The command


def test_build_exits_0_where_it_wrote_and_1_where_it_refused(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    file = project.write()
    assert cli.main(["build", str(file), "-o", str(project.out)]) == 0
    (project.folder / "net.py").write_text("1 / 0\n")
    assert cli.main(["build", str(file), "-o", str(project.out)]) == 1
    told = capsys.readouterr().out
    assert "error[P501]" in told
    assert "net.py:1:1" in told
    assert "1 / 0" in told


def test_build_says_what_it_leaves_out(project: Project) -> None:
    project.plan += 'launch slurm for wide { partition = "gpu" }\n'
    (warning,) = project.build()
    assert warning.code == "P408"
    assert project.out.is_dir()


def test_several_plans_and_none_named(project: Project) -> None:
    project.plan += "plan other for first on here { mesh = [dp: 1], data over [dp] }\n"
    (fault,) = project.faults()
    assert fault.code == "P118"
    assert "`wide`" in fault.words
    assert "`other`" in fault.words
    assert project.build(plan="other") == ()
    assert json.loads((project.out / "plan.lock.json").read_text())["plan"] == "other"


def test_ids_that_the_model_does_not_know_are_found_where_the_plan_states_no_vocabulary(
    project: Project,
) -> None:
    """A table that is sharded would look them up as zero. The program checks its data against this number."""
    project.layout, project.devices = TENSOR, 2
    project.says(", vocab = 32", "")
    compiled = driver.compile_plan(load(project.write()), None)
    assert isinstance(compiled, driver.Compiled)
    assert compiled.program.known_ids == 32


def test_the_licence_travels_with_the_code(project: Project) -> None:
    assert project.build() == ()
    assert (project.out / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


# An output folder that exists


def test_an_output_of_parc_is_replaced(project: Project) -> None:
    assert project.build() == ()
    project.layout, project.devices = DATA, 2
    assert project.build() == ()
    assert json.loads((project.out / "plan.lock.json").read_text())["mesh"] == {"dp": 2}


def test_stages_of_the_plan_before_do_not_stay(project: Project) -> None:
    project.layout, project.devices = "mesh = [pp: 2], pipeline over [pp]", 2
    assert project.build() == ()
    assert (project.out / "stage_1.py").is_file()
    project.layout, project.devices = ALONE, 1
    assert project.build() == ()
    assert not (project.out / "stage_1.py").exists()


def test_what_a_run_left_in_the_folder_stays(project: Project) -> None:
    assert project.build() == ()
    (project.out / "runs").mkdir()
    (project.out / "runs" / "metrics.jsonl").write_text("{}\n")
    (project.out / "notes.txt").write_text("mine")
    assert project.build() == ()
    assert (project.out / "runs" / "metrics.jsonl").read_text() == "{}\n"
    assert (project.out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "text"), [("train.py", "print()\n"), ("runtime/mine.py", ""), ("launch/torchrun.sh", "true\n")]
)
def test_an_edited_folder_is_replaced_by_force_alone(project: Project, name: str, text: str) -> None:
    assert project.build() == ()
    original = contents(project.out)
    (project.out / name).write_text(text)
    (fault,) = project.build()
    assert fault.code == "P516"
    assert f"`{name}`" in fault.message
    assert (project.out / name).read_text() == text
    built = driver.build(project.write(), None, project.out, check=False, force=True)
    assert built.diagnostics == ()
    assert contents(project.out) == original


def test_a_file_of_the_users_is_not_taken_for_one_that_is_written(project: Project) -> None:
    assert project.build() == ()
    mine = project.out / "stage_1.py"
    mine.write_text("mine")
    project.layout, project.devices = ALL, 4
    (fault,) = project.build()
    assert fault.code == "P516"
    assert "stage_1.py" in fault.message
    assert mine.read_text() == "mine"


@pytest.mark.parametrize(
    "name",
    [
        *("../precious.txt", "/etc/passwd", "", "notes.txt", "runs/metrics.jsonl"),
        "runtime/../x.py",
        "launch/a b.sh",
    ],
)
def test_a_record_that_names_other_files_than_parc_writes_is_not_parcs(project: Project, name: str) -> None:
    """Else what a run or the user has left there would go with the old program."""
    assert project.build() == ()
    (project.out / "notes.txt").write_text("mine")
    replace_record(project.out, lambda record: record["files"].update({name: "0" * 64}))
    (fault,) = project.build()
    assert fault.code == "P510"
    assert (project.out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.update(files=[]),
        lambda record: record.update(files={"train.py": 3}),
        lambda record: record.update(files={"train.py": "short"}),
        lambda record: record.update(files=None),
        lambda record: record.update(parc=1),
        lambda record: record.pop("files"),
    ],
)
def test_a_record_of_wrong_types_is_not_parcs(
    project: Project, change: Callable[[dict[str, Any]], object]
) -> None:
    assert project.build() == ()
    replace_record(project.out, change)
    (fault,) = project.build()
    assert fault.code == "P510"


def replace_record(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    mark = folder / "plan.lock.json"
    record = json.loads(mark.read_text())
    change(record)
    mark.write_text(json.dumps(record))


def test_a_record_behind_a_link_is_not_parcs(project: Project) -> None:
    assert project.build() == ()
    mark = project.out / "plan.lock.json"
    mark.rename(project.folder / "elsewhere.json")
    mark.symlink_to(project.folder / "elsewhere.json")
    (fault,) = project.build()
    assert fault.code == "P510"


@pytest.mark.parametrize("name", ["train.py", "runtime", "runtime/mine", "runtime/__pycache__"])
def test_a_link_in_a_folder_of_parcs_counts_as_an_edit(project: Project, tmp_path: Path, name: str) -> None:
    assert project.build() == ()
    shutil.rmtree(project.out / "runtime" / "__pycache__", ignore_errors=True)
    away, place = tmp_path / "away", project.out / name
    if place.exists():
        place.rename(away)
    else:
        away.mkdir()
        (away / "precious.txt").write_text("mine")
    place.symlink_to(away)
    (fault,) = project.build()
    assert fault.code == "P516"
    assert place.is_symlink()


@pytest.mark.parametrize("broken", ["plan", "model"])
def test_a_failed_build_leaves_the_output_untouched(project: Project, broken: str) -> None:
    assert project.build() == ()
    before = contents(project.out)
    if broken == "plan":
        project.plan += "nonsense"
    else:
        project.net += "\n1 / 0\n"
    assert project.build() != ()
    assert contents(project.out) == before


@pytest.mark.parametrize(
    "mark", [None, "", "[]", '["parc"]', '"parc"', "{}", '{"name": "x"}', '{"parc": "1"}', "\0"]
)
def test_a_folder_that_parc_did_not_write_is_never_overwritten(project: Project, mark: str | None) -> None:
    project.out.mkdir(parents=True)
    (project.out / "precious.txt").write_text("mine")
    if mark is not None:
        (project.out / "plan.lock.json").write_text(mark)
    before = contents(project.out)
    (fault,) = project.build()
    assert fault.code == "P510"
    assert "not written by parc" in fault.message
    assert contents(project.out) == before


def test_a_file_in_the_way(project: Project) -> None:
    project.folder.mkdir()
    project.out.write_text("mine")
    (fault,) = project.build()
    assert fault.code == "P510"
    assert project.out.read_text() == "mine"


def test_a_file_where_a_folder_above_should_be(project: Project) -> None:
    file = project.write()
    (fault,) = driver.build(file, None, project.folder / "net.py" / "out").diagnostics
    assert fault.code == "P510"


def test_a_name_that_no_file_can_have(project: Project) -> None:
    file = project.write()
    (fault,) = driver.build(file, None, project.folder / ("x" * 300)).diagnostics
    assert fault.code == "P510"


def test_a_link_to_a_folder_that_parc_did_not_write(project: Project, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("mine")
    project.folder.mkdir()
    project.out.symlink_to(precious)
    (fault,) = project.build()
    assert fault.code == "P510"
    assert contents(precious) == {"file": b"mine"}


def test_a_link_to_an_output_of_parc_stays_a_link(project: Project, tmp_path: Path) -> None:
    real = tmp_path / "disk" / "program"
    real.parent.mkdir()
    assert driver.build(project.write(), None, real, check=False).diagnostics == ()
    project.out.symlink_to(real)
    project.layout, project.devices = DATA, 2
    assert project.build() == ()
    assert project.out.is_symlink()
    assert json.loads((real / "plan.lock.json").read_text())["mesh"] == {"dp": 2}


def test_a_link_to_nothing(project: Project, tmp_path: Path) -> None:
    project.folder.mkdir()
    project.out.symlink_to(tmp_path / "nothing")
    (fault,) = project.build()
    assert fault.code == "P510"
    assert not (tmp_path / "nothing").exists()


# Interrupted


class Interrupted(BaseException):
    """As KeyboardInterrupt, which pytest would take for its own."""


def test_an_interrupt_while_files_are_written_leaves_nothing_behind(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert project.build() == ()
    (project.out / "runs").mkdir()
    before, around = contents(project.out), sorted(project.folder.iterdir())
    wrote = Path.write_bytes

    def interrupted(path: Path, content: bytes) -> int:
        if path.name == "README.md":
            raise Interrupted
        return wrote(path, content)

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(Interrupted):
        writing.write(dict.fromkeys(before, b"new"), project.out)
    monkeypatch.undo()
    assert contents(project.out) == before
    assert sorted(project.folder.iterdir()) == around


@pytest.fixture(params=["exchanged", "renamed"])
def exchange(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Linux exchanges two folders in one step; elsewhere one moves away before the other comes."""
    if request.param == "renamed":
        monkeypatch.setattr(writing, "_rename_exchange", lambda _one, _other: False)
    return str(request.param)


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_an_interrupt_while_the_folder_is_swapped_leaves_the_old_one(
    project: Project, monkeypatch: pytest.MonkeyPatch, at: int, exchange: str
) -> None:
    """The folders change places, then what a run has left moves."""
    assert project.build() == ()
    (project.out / "runs").mkdir()
    (project.out / "runs" / "metrics.jsonl").write_text("{}\n")
    before, around = contents(project.out), sorted(project.folder.iterdir())
    renamed, count = Path.rename, 0

    def interrupted(path: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count == at:
            raise Interrupted
        return renamed(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    files = {name: b"new" for name in before if not name.startswith("runs")}
    if exchange == "exchanged" and at > 1:
        writing.write(files, project.out)
        assert contents(project.out) == {**files, "runs/metrics.jsonl": b"{}\n"}
    else:
        with pytest.raises(Interrupted):
            writing.write(files, project.out)
        assert contents(project.out) == before
    monkeypatch.undo()
    assert sorted(project.folder.iterdir()) == around


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_kill_while_the_folder_is_swapped_loses_nothing(project: Project, at: int, exchange: str) -> None:
    """The program is the old one or the new one, and the next build brings what a run has left."""
    assert project.build() == ()
    (project.out / "runs").mkdir()
    (project.out / "runs" / "metrics.jsonl").write_text("{}\n")
    before, around = contents(project.out), sorted(project.folder.iterdir())
    renamed = Path.rename

    def write_and_die() -> None:
        count = 0

        def killed(path: Path, target: Path) -> Path:
            nonlocal count
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return renamed(path, target)

        Path.rename = killed  # type: ignore[method-assign]
        writing.write({name: text for name, text in before.items() if "runs" not in name}, project.out)

    child = get_context("fork").Process(target=write_and_die)
    child.start()
    child.join()
    assert child.exitcode == (0 if exchange == "exchanged" and at > 1 else -signal.SIGKILL)
    if exchange == "exchanged":
        assert (project.out / "plan.lock.json").is_file()  # never gone
    writing.recover(project.folder)
    assert contents(project.out) == before
    assert sorted(project.folder.iterdir()) == around


def test_temporary_folders_of_a_killed_process_are_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "parc-of-somebody").mkdir()
    if (child := os.fork()) == 0:
        with make_temporary():
            os._exit(0)
    os.waitpid(child, 0)
    assert len(list(tmp_path.iterdir())) == 2
    with make_temporary() as one, make_temporary() as other:
        assert {*tmp_path.iterdir()} == {tmp_path / "parc-of-somebody", one, other}
    assert [path.name for path in tmp_path.iterdir()] == ["parc-of-somebody"]


def test_a_folder_that_is_being_written_is_left_alone(project: Project) -> None:
    project.folder.mkdir()
    with make_scratch(writing.PREFIX, project.folder) as scratch:
        writing.recover(project.folder)
        assert scratch.is_dir()
    (project.folder / ".parc-mine").mkdir()  # somebody else's, in spite of its name
    writing.recover(project.folder)
    assert (project.folder / ".parc-mine").is_dir()


def test_ctrl_c_while_the_model_is_built(project: Project) -> None:
    here = project.folder.with_name("here")
    asleep = f"        import pathlib, time; pathlib.Path({str(here)!r}).touch(); time.sleep(60)\n"
    project.model("        self.embedding =", f"{asleep}        self.embedding =")
    file = project.write()
    command = [sys.executable, "-m", "parc", "build", str(file), "-o", str(project.out)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as build:
        while build.poll() is None and not here.exists():  # until the constructor sleeps
            time.sleep(0.1)
        build.send_signal(signal.SIGINT)
        out, err = build.communicate(timeout=10)
    assert build.returncode == 130
    assert "Traceback" not in out + err
    assert sorted(path.name for path in project.folder.iterdir()) == ["net.py", "plan.parc", "text.txt"]


# Hostile texts

HOSTILE = [
    "it's {{ 7 * 7 }} {% raw %} $(touch pwned) `touch pwned`",
    '\\"\\"\\"; import os; os.mkdir(\\"pwned\\") #',
    "\\n\\r\\t\\\\ ''' %s {0} ${HOME}",
    "ünï \u202e \u2028 \U0001f600 \x7f",
]


def is_harmless(folder: Path) -> None:
    for file in folder.rglob("*.py"):
        ast.parse(file.read_text(encoding="utf-8"))
    assert subprocess.run(["bash", "-n", folder / "launch" / "torchrun.sh"], check=False).returncode == 0
    json.loads((folder / "plan.lock.json").read_text(encoding="utf-8"))
    assert not list(folder.parent.rglob("pwned"))
    assert not Path("pwned").exists()


def constant(file: Path, name: str) -> object:
    (value,) = [
        node.value
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
    ]
    return ast.literal_eval(value)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_of_data_files_are_only_text(project: Project, text: str) -> None:
    tokens = f'tokens("{text}", type = uint8)'
    assert project.says('tokens("text.txt", type = uint8)', tokens).build() == ()
    is_harmless(project.out)
    (pattern,) = driver.load(project.write()).plans[0].train.dataset.patterns  # type: ignore[union-attr]
    assert constant(project.out / "train.py", "DATA") == [pattern]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_arguments_reach_the_model_and_nothing_else(project: Project, text: str) -> None:
    project.model("layers=2, width=16", "layers=2, title='', width=16")
    assert (
        project.says("arguments { layers = 2 }", f'arguments {{ layers = 2, title = "{text}" }}').build()
        == ()
    )
    is_harmless(project.out)


@pytest.mark.parametrize(
    "doc", ['Ends with a quote "', 'Says """ twice', "Back\\slash {{ 7 * 7 }}", "x" * 300]
)
def test_hostile_docstrings_of_the_model(project: Project, doc: str) -> None:
    project.model("class Feed(nn.Module):\n", f"class Feed(nn.Module):\n    __doc__ = {doc!r}\n\n")
    assert project.build() == ()
    is_harmless(project.out)
    assert max(map(len, (project.out / "stage_0.py").read_text().splitlines())) <= 110


@pytest.mark.parametrize("name", ["it's {{ 7 * 7 }}", 'a "b" $(touch pwned)', "new\nline", "ünï"])
def test_hostile_paths(tmp_path: Path, name: str) -> None:
    project = Project(tmp_path / name)
    assert project.build() == ()
    is_harmless(project.out)


@pytest.mark.parametrize("axis", ["experts", "layers", "mesh"])
def test_an_axis_may_have_almost_any_name(project: Project, axis: str) -> None:
    project.layout, project.devices = f"mesh = [{axis}: 2], data over [{axis}], experts over [{axis}]", 2
    assert project.build() == ()
    is_harmless(project.out)


@pytest.mark.parametrize("axis", ["class", "ﬁ", "ε"])
def test_an_axis_that_is_no_name_in_python_is_refused(project: Project, axis: str) -> None:
    project.layout, project.devices = f"mesh = [{axis}: 2], tensor over [{axis}]", 2
    assert ("P317", project.layout) in [(fault.code, fault.line) for fault in project.faults()]


@pytest.mark.parametrize("axis", ["attention", "forward"])
def test_an_axis_that_would_take_the_place_of_something_else_is_refused(project: Project, axis: str) -> None:
    """The group of an axis is an attribute of the modules that use it: `self.attention` is one already."""
    project.layout, project.devices = f"mesh = [{axis}: 2], tensor over [{axis}]", 2
    (fault,) = project.faults()
    assert (fault.code, fault.line) == ("P511", project.layout)


@pytest.mark.parametrize(
    ("mesh", "message"),
    [
        ("a: 2, b: 2, a_b: 1", "the group over `a` and `b` is `a_b`, as something else is named"),
        ("do: 2, wn: 2", "the group over `do` and `wn` is `do_wn`"),
    ],
)
def test_a_group_over_several_axes_takes_no_other_name(project: Project, mesh: str, message: str) -> None:
    axes = ", ".join(each.split(":")[0] for each in mesh.split(", ")[:2])
    project.layout, project.devices = f"mesh = [{mesh}], data over [{axes}], experts over [{axes}]", 4
    project.net = project.net.replace("self.down", "self.do_wn")
    (fault,) = project.faults()
    assert fault.code == "P511"
    assert fault.it.message.startswith(message)


def test_a_group_of_a_pipeline_takes_no_name_of_an_axis(project: Project) -> None:
    project.layout = "mesh = [pa: 2, pb: 2, pa_pb: 2], data over [pa_pb], pipeline over [pa, pb]"
    project.devices = 8
    project.plan = project.plan.replace("layers = 2", "layers = 4").replace(
        "microbatches = 2", "microbatches = 4"
    )
    (fault,) = project.faults()
    assert fault.code == "P511"
    assert fault.it.message.startswith("the group over `pa` and `pb` is `pa_pb`")


@pytest.mark.parametrize("name", ["Stage", "Tensor", "torch", "parameter"])
def test_a_class_of_the_model_may_have_any_name(project: Project, name: str) -> None:
    project.net = project.net.replace("class Feed(", f"class {name}_(").replace(
        "Feed(width", f"{name}_(width"
    )
    project.net += f"\n\n{name}_.__name__ = {name!r}\n"
    assert project.build() == ()
    tree = ast.parse((project.out / "stage_0.py").read_text())
    defined = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    imported = [
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    ]
    assert len({*defined, *imported}) == len(defined) + len(imported)


def test_nothing_is_written_outside_the_output(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name for path in [project.write(), *project.folder.iterdir()]}
    monkeypatch.chdir(project.folder)
    command = [sys.executable, "-m", "parc", "build", "plan.parc", "-o", "deep/er/out"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": ""}
    assert subprocess.run(command, check=False, env=environment).returncode == 0
    assert {path.name for path in project.folder.iterdir()} == {*before, "deep"}
    assert [path.name for path in (project.folder / "deep" / "er").iterdir()] == ["out"]
