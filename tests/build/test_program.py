"""The emitted folder: the same bytes each time, PyTorch alone, formatted, and true to the layout algebra."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import parc
from parc.plan.placement import locate_experts, locate_layers
from tests.build.conftest import EXAMPLES
from tests.build.projects import PLAN, Project

ROOT = Path(__file__).parents[2]


def run(*command: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_has_the_files_that_the_design_names(small: Project) -> None:
    top = {path.name for path in small.out.iterdir()} - {"__pycache__"}
    assert {"README.md", "plan.lock.json", "ranks.csv", "train.py", "runtime", "launch"} <= top
    assert all(re.fullmatch(r"stage_\d+\.py", name) for name in top if name.startswith("stage"))
    assert os.access(small.out / "launch" / "torchrun.sh", os.X_OK)


def test_the_same_input_gives_the_same_bytes_in_any_process(small: Project, tmp_path: Path) -> None:
    """Hashing of strings differs from process to process: nothing may be in the order of a set."""
    built = []
    for seed in ("1", "2"):
        out = tmp_path / seed
        command = (sys.executable, "-m", "parc", "build", str(small.folder / "plan.parc"), "-o", str(out))
        done = run(*command, "--no-validate", PYTHONHASHSEED=seed)
        assert done.returncode == 0, done.stdout + done.stderr
        built.append(contents(out))
    assert built[0] == built[1]
    assert built[0] == {name: text for name, text in contents(small.out).items() if "__pycache__" not in name}


def test_the_same_project_elsewhere_gives_the_same_bytes(small: Project, tmp_path: Path) -> None:
    other = Project(tmp_path / "else" / "where", small.layout, small.devices)
    assert other.build() == ()
    here = {name: text for name, text in contents(small.out).items() if "__pycache__" not in name}
    assert contents(other.out) == here


def test_it_needs_torch_alone(small: Project) -> None:
    """Imported where neither parc nor what parc needs can be."""
    script = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("parc", "lark", "jinja2", "net"):
            raise ImportError(name)
sys.meta_path.insert(0, Nothing())
sys.path[:] = [".", *(path for path in sys.path if path and path != sys.argv[1])]
import train
loaded = {name.split(".")[0] for name in sys.modules}
print(sorted(loaded & {"parc", "lark", "jinja2", "net"}), train.WORLD_SIZE)
"""
    done = run(sys.executable, "-c", script, str(ROOT), cwd=small.out)
    assert done.stdout == "[] 4\n", done.stderr


def test_it_is_clean_and_formatted(example: Path) -> None:
    ruff = Path(sys.executable).parent / "ruff"
    style = ("--isolated", "--line-length", "110", "--target-version", "py311")
    linted = run(str(ruff), "check", *style, "--no-cache", "--select", "E,F,I,B,UP", ".", cwd=example)
    assert linted.returncode == 0, linted.stdout
    formatted = run(str(ruff), "format", *style, "--no-cache", "--diff", ".", cwd=example)
    assert formatted.returncode == 0, formatted.stdout


def test_what_is_emitted_for_the_seed_is_small(seed: Path) -> None:
    assert sum(map(len, contents(seed).values())) < 300_000
    assert len(list(seed.glob("stage_*.py"))) <= 4


def test_middle_stages_that_are_alike_share_one_file(seed: Path) -> None:
    """Four stages: the first has the embedding, the last the loss, and those between are the same."""
    assert sorted(path.name for path in seed.glob("stage_*.py")) == ["stage_0.py", "stage_1.py", "stage_3.py"]
    script = "import train; print([(spec.build.__module__, spec.first_layer) for spec in train.STAGES])"
    done = run(sys.executable, "-c", script, cwd=seed)
    assert done.stdout.strip() == "[('stage_0', 0), ('stage_1', 4), ('stage_1', 8), ('stage_3', 12)]", (
        done.stderr
    )


def test_the_table_of_ranks_agrees_with_the_layout_algebra(seed: Path) -> None:
    (plan,) = parc.load(EXAMPLES / "seed.parc").plans
    rows = list(csv.DictReader((seed / "ranks.csv").open()))
    assert [int(row["rank"]) for row in rows] == list(range(plan.mesh.size))
    for rank, row in enumerate(rows):
        assert {name: int(row[name]) for name in plan.mesh.names} == dict(plan.mesh.coordinates(rank))
        assert (int(row["node"]), int(row["device"])) == divmod(rank, 16)
        first, last = map(int, row["experts"].split("-"))
        assert list(range(first, last + 1)) == list(locate_experts(plan, rank))
        (held,) = locate_layers(plan, rank)
        assert list(range(int(row["stage"]) * 4, int(row["stage"]) * 4 + 4)) == list(held)
        assert int(row["data"]) == plan.mesh.index(rank, ("ep",))


def test_the_lock_says_what_the_program_was_made_from(small: Project) -> None:
    lock = json.loads((small.out / "plan.lock.json").read_text())
    for name in ("plan.parc", "net.py"):
        assert lock["sha256"][name] == hashlib.sha256((small.folder / name).read_bytes()).hexdigest()
    assert lock["plan"] == "wide"
    assert lock["mesh"] == {"ep": 2, "pp": 2}
    assert lock["train"]["batch"] == {"sequences": 8, "length": 8, "microbatches": 2}
    assert lock["strategies"]["pipeline"]["layers"] == [1, 1]
    assert lock["train"]["dataset"]["patterns"] == ["text.txt"]
    assert set(lock["files"]) | {"plan.lock.json"} == {
        name for name in contents(small.out) if "__pycache__" not in name and not name.startswith("runs")
    }


def test_another_model_makes_another_lock(tmp_path: Path) -> None:
    one, other = Project(tmp_path / "one"), Project(tmp_path / "other")
    other.net += "\n# a remark\n"
    assert one.build() == other.build() == ()
    assert (one.out / "plan.lock.json").read_bytes() != (other.out / "plan.lock.json").read_bytes()


def test_plans_of_one_name_in_two_folders_are_both_in_the_lock(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    (tmp_path / "project" / "sub").mkdir(parents=True)
    cluster, rest = PLAN.split("\n", 1)
    (project.folder / "sub" / "plan.parc").write_text(cluster.replace("DEVICES", "1") + "\n")
    project.plan = f'import "sub/plan.parc"\n{rest}'
    assert project.build() == ()
    assert set(json.loads((project.out / "plan.lock.json").read_text())["sha256"]) == {
        "plan.parc",
        "sub/plan.parc",
        "net.py",
    }


def test_the_readme_names_the_ways_to_start_it(small: Project) -> None:
    text = (small.out / "README.md").read_text()
    assert "python train.py" in text
    assert "bash launch/torchrun.sh" in text
    assert "4 ranks" in text
    for axis in ("`ep`", "`pp`"):
        assert axis in text
    for file in small.out.glob("stage_*.py"):
        assert f"`{file.name}`" in text
