"""The compiler's list of the runtime's names agrees with the runtime."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module

import pytest

from parc.ir import states
from parc.ir.runtime_names import COLLECTIVES, LOCALS, RUNTIME, STATES, TOKEN_COUNTS
from parc.runtime import collectives, experts


@pytest.mark.parametrize("module", RUNTIME)
def test_every_name_is_defined_in_its_module(module: str) -> None:
    found = import_module(f"parc.runtime.{module}")
    tree = ast.parse(inspect.getsource(found))
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    defined |= {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert set(RUNTIME[module]) <= defined


def test_a_state_prints_alike_in_the_compiler_and_in_the_runtime() -> None:
    for name in STATES:
        ours, theirs = getattr(states, name), getattr(collectives, name)
        for arguments in [(0,), (1, 3)] if name == "S" else [()]:
            made = (ours(*arguments), theirs(*arguments)) if arguments else (ours, theirs)
            assert str(made[0]) == repr(made[1])
            assert eval(str(made[0]), vars(collectives)) == made[1]


def test_every_collective_that_the_runtime_exports_is_listed() -> None:
    functions = dict(inspect.getmembers(collectives, inspect.isfunction))
    public = {name for name, each in functions.items() if each.__module__ == collectives.__name__}
    assert {name for name in public if not name.startswith("_")} == {*COLLECTIVES, "S"}
    assert set(COLLECTIVES) <= LOCALS


def test_the_trainer_reads_the_counts_that_modules_keep() -> None:
    assert TOKEN_COUNTS == experts.TOKEN_COUNTS
