"""`--dump-after`: the program after each pass, as text, and no folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from parc import cli
from tests.build.conftest import EXAMPLES
from tests.build.projects import ALL, DATA, Project

DOCS = Path(__file__).parents[2] / "docs"
PASSES = ("load", "capture", "propagate", "lower", "emit")


def dump(project: Project, after: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["build", str(project.write()), "--dump-after", after]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert not project.out.exists()
    return printed.out


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project", ALL, 4)


def test_after_load_it_is_the_plan(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    lines = dump(project, "load", capsys).splitlines()
    assert "  name = 'wide'" in lines
    assert "      microbatches = 2" in lines
    assert "    schedule = 'gpipe'" in lines
    assert "    weight_decay = 0.1" in [line[2:] for line in lines]  # a default


def test_after_capture_it_is_the_graphs_over_global_shapes(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    text = dump(project, "capture", capsys)
    assert text.count("body Layer: layers.0\n") == 1  # both layers are one body
    assert "  input x: float32[4, 8, 16]\n" in text
    assert "aten.topk.default" in text


def test_after_propagate_the_values_have_states(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    text = dump(project, "propagate", capsys)
    assert "  input x: float32[4, 8, 16] {ep: S(0)}\n" in text


def test_conversions_stand_before_the_operation_that_needs_them(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.layout, project.devices = "mesh = [tp: 2], tensor over [tp], experts over [tp]", 2
    lines = dump(project, "propagate", capsys).splitlines()
    place = lines.index("  convert x over tp: I -> R")
    assert lines[place + 1].endswith("= aten.linear.default(x, q.weight)")


def test_after_lower_it_is_the_program_of_each_stage(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    text = dump(project, "lower", capsys)
    assert "stage 0: layers 0 to 0 (Layer)" in text
    assert "    send x: float32[2, 8, 16] {ep: S(0)}" in text
    assert "    receive x: float32[2, 8, 16] {ep: S(0)}" in text
    assert "issues dispatch(" in text


def test_after_emit_it_is_the_files(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    text = dump(project, "emit", capsys)
    assert project.build() == ()
    for file in project.out.rglob("*"):
        if file.is_file():
            assert f"{file.stat().st_size:>8,}  {file.relative_to(project.out)}" in text
    assert (project.out / "stage_0.py").read_text() in text


def test_what_comes_before_a_refusal_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = Project(tmp_path / "project", DATA, 2).model("F.relu(self.up(x))", "self.up(x).cumsum(0)")
    file = str(project.write())
    assert cli.main(["build", file, "--dump-after", "capture"]) == 1
    printed = capsys.readouterr()
    assert "aten.cumsum.default" in printed.out
    assert "P507" in printed.err
    assert cli.main(["build", file, "--dump-after", "lower"]) == 1
    assert capsys.readouterr().out == ""


def test_a_dump_and_a_folder_exclude_each_other(project: Project) -> None:
    with pytest.raises(SystemExit):
        cli.main(["build", str(project.write()), "--dump-after", "lower", "-o", str(project.out)])


def test_the_example_of_the_documentation_is_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["build", str(EXAMPLES / "quickstart.parc"), "--dump-after", "lower"]) == 0
    printed = capsys.readouterr().out
    example = (DOCS / "ir.md").read_text().partition("## Example")[2].partition("    unit ")[2]
    lines = ("    unit " + example).partition("\n\n")[0].splitlines()
    assert "\n".join(line.removeprefix("    ") for line in lines) in printed


def test_the_same_plan_prints_the_same_text(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    for after in PASSES:
        first, second = (dump(project, after, capsys) for _ in range(2))
        assert first == second
