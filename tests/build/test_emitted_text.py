"""The text of the emitted modules: the user's names, the user's numbers, each expression once."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from parc import driver
from parc.ir.runtime_names import LOCALS
from tests.build.conftest import EXAMPLES
from tests.build.projects import Project

USER = {"quickstart": "moe.py", "seed": "moe.py", "classic": "classic.py"}
OURS = {"x", "batch", "length", "n_tokens", "counts", "route", "combined", "logits", "labels", "loss", "term"}


def classes(folder: Path) -> Iterator[ast.ClassDef]:
    """Those of the model, and the stages."""
    for file in (folder / "model.py", *sorted(folder.glob("stage_*.py"))):
        yield from (node for node in ast.parse(file.read_text()).body if isinstance(node, ast.ClassDef))


def method(node: ast.ClassDef, name: str) -> ast.FunctionDef:
    return next(each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == name)


def forwards(folder: Path) -> Iterator[ast.FunctionDef]:
    return (method(node, "forward") for node in classes(folder))


def constructor(folder: Path, unit: str) -> ast.FunctionDef:
    return next(method(node, "__init__") for node in classes(folder) if node.name == unit)


def bound(node: ast.AST) -> set[str]:
    return {
        each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
    }


def names_of_the_users(file: Path) -> set[str]:
    """The variables, arguments and attributes of a source file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name):
                found.add(name)
    return found


def test_variables_have_names_of_the_users(example: Path, request: pytest.FixtureRequest) -> None:
    """A converted value has the axis behind its name, or `all`; a name in use is numbered."""
    file = next(name for plan, name in USER.items() if request.node.callspec.id.startswith(plan))
    known = names_of_the_users(EXAMPLES / file) | OURS | LOCALS
    for forward in forwards(example):
        for name in bound(forward):
            stem = re.sub(r"(_(all|ep|tp|dp|pp))*(_\d+)?$", "", name)
            assert stem in known, f"{name} in {ast.unparse(forward)}"


def test_the_parts_of_a_chunk_have_the_names_that_a_helper_gives_them(seed: Path) -> None:
    chunks = [
        ast.unparse(statement.targets[0])
        for forward in forwards(seed)
        for statement in ast.walk(forward)
        if isinstance(statement, ast.Assign) and ".chunk(" in ast.unparse(statement.value)
    ]
    assert chunks
    assert set(chunks) == {"(first, second)"}


def test_numbers_that_the_user_named_keep_their_names(seed: Path) -> None:
    numbers = {
        ast.unparse(statement.targets[0]): ast.literal_eval(statement.value)
        for unit in ("RMSNorm", "Attention", "Router")
        for statement in constructor(seed, unit).body
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant)
    }
    assert numbers == {
        "self.eps": 1e-6,
        "self.head_dim": 64,
        "self.n_experts": 64,
        "self.top_k": 2,
    }
    constants = {
        node.value
        for forward in forwards(seed)
        for node in ast.walk(forward)
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float)
    }
    assert not constants & {1e-6, 8192, 16384}


def test_what_two_buffers_read_is_computed_once(seed: Path) -> None:
    """The angles of the cosine and the sine."""
    init = constructor(seed, "Stage")
    assert "angles" in bound(init)
    calls = [ast.unparse(node.func) for node in ast.walk(init) if isinstance(node, ast.Call)]
    assert calls.count("torch.arange") == 2  # positions, frequencies


def test_no_variable_stands_for_another(example: Path) -> None:
    for forward in forwards(example):
        for statement in ast.walk(forward):
            assert not (
                isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Name | ast.Attribute)
            ), ast.unparse(statement)


def test_modules_beside_the_layers_in_a_container_stay(tmp_path: Path) -> None:
    """`trunk.norm` beside `trunk.layers`: the program trains as the model does."""
    project = Project(tmp_path / "project")
    made = "nn.ModuleList([Layer(width, heads, kv_heads, inner, experts) for _ in range(layers)])"
    project.model(
        f"self.layers = {made}", "self.trunk = Trunk(layers, width, heads, kv_heads, inner, experts)"
    )
    project.model(
        """        for layer in self.layers:
            x = layer(x)
        return self.head(x)""",
        "        return self.head(self.trunk(x))",
    )
    project.model(
        "class Net(nn.Module):",
        f"""class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * self.scale


class Trunk(nn.Module):
    def __init__(self, layers, width, heads, kv_heads, inner, experts):
        super().__init__()
        self.layers = {made}
        self.norm = Norm(width)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class Net(nn.Module):""",
    )
    assert project.build() == ()
    command = [sys.executable, "train.py", "--base", str(project.folder), "--device", "cpu", "--steps", "1"]
    done = subprocess.run(command, cwd=project.out, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("letters", [49, 200])
def test_the_name_of_an_axis_may_be_long(tmp_path: Path, letters: int) -> None:
    """So long that no statement which names it fits on a line."""
    axis = "e" * letters
    text = (EXAMPLES / "quickstart.parc").read_text()
    (tmp_path / "quickstart.parc").write_text(re.sub(r"\bep\b", axis, text))
    (tmp_path / "moe.py").write_text((EXAMPLES / "moe.py").read_text())
    out = tmp_path / "out"
    assert driver.build(tmp_path / "quickstart.parc", None, out, check=False).diagnostics == ()
    command = [sys.executable, "-c", f"import train; print(train.AXES['{axis}'])"]
    done = subprocess.run(command, cwd=out, capture_output=True, text=True, check=False)
    assert done.stdout == "2\n", done.stderr


def test_a_buffer_is_changed_as_a_person_would(tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = Path(__file__).parents[1] / "plans" / "build" / "buffers-in-place.parc"
    assert driver.build(plan, None, out, check=False).diagnostics == ()
    assert """\
        self.register_buffer(
            "causal", torch.empty((8, 8), device=device).fill_(float("-inf")).triu_(1), persistent=False
        )
        w = torch.zeros((16,), device=device)
        w[2].fill_(3.0)
        w[4:6] = w[4:6].add_(1)
""" in (out / "model.py").read_text()
    assert """\
        table = torch.zeros((8, 16), device=device)
        table[:, ::2] = angles.sin()
        table[:, 1::2] = angles.cos()
""" in (out / "stage_0.py").read_text()
