"""Faults of emission: files whose text says something else than the program."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

from fault_kinds.registry import Baseline, Sites, fault
from parc.emit.program import Files

SHAPES = {"shape", "dtype", "device", "ndim", "size", "view_as", "new_zeros", "new_full", "expand_as"}
HARMLESS = {  # arguments that change where or when something is, and what is checked
    "device": "the device is the default one",
    "persistent": "nothing is saved",
    "pin_memory": "a place",
    "timeout": "how long is waited",
    "vocabulary": "which ids are refused",
    "schedule": "an order in time",
    "enable_gqa": "torch refuses other heads",
    "keepdim": "a shape",
}


@dataclass(frozen=True)
class _Place:
    """A node of a file's syntax tree, by its number in a walk."""

    file: str
    number: int

    def edit(self, change: Callable[[Any], object]) -> Callable[[Any], Any]:
        """`change` changes the node in place."""

        def inject(files: Files) -> Files:
            tree = ast.parse(files[self.file])
            change(list(ast.walk(tree))[self.number])
            return {**files, self.file: (ast.unparse(ast.fix_missing_locations(tree)) + "\n").encode()}

        return inject


def _walk(files: Files) -> Iterator[tuple[_Place, ast.AST, ast.FunctionDef | None]]:
    """The nodes of `model.py` and of the stages, each with the method that it is in."""
    for file in sorted(files):
        if re.fullmatch(r"model\.py|stage_\d+\.py", file):
            tree = ast.parse(files[file])
            methods = {
                id(node): method
                for method in ast.walk(tree)
                if isinstance(method, ast.FunctionDef)
                for statement in method.body
                for node in ast.walk(statement)
            }
            for number, node in enumerate(ast.walk(tree)):
                yield _Place(file, number), node, methods.get(id(node))


def _in_forward(files: Files) -> Iterator[tuple[_Place, ast.AST, ast.FunctionDef]]:
    for place, node, method in _walk(files):
        if method is not None and method.name == "forward":
            yield place, node, method


def _show(place: _Place, node: ast.AST) -> str:
    return f"{place.file}:{getattr(node, 'lineno', 0)} {ast.unparse(node)[:70]}"


@fault("operands are printed in another order", "emit")
def _print_in_another_order(baseline: Baseline) -> Sites:
    def exchange(node: ast.BinOp) -> None:
        node.left, node.right = node.right, node.left

    for place, node, _ in _in_forward(baseline.files):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub | ast.Div | ast.Pow | ast.MatMult):
            yield _show(place, node), place.edit(exchange)


@fault("another operator is printed", "emit")
def _print_other_operators(baseline: Baseline) -> Sites:
    others = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult}
    for place, node, _ in _in_forward(baseline.files):
        if isinstance(node, ast.BinOp) and type(node.op) in others:
            other = others[type(node.op)]
            yield (
                f"{_show(place, node)} {other.__name__}",
                place.edit(partial(_set, field="op", value=other())),
            )


@fault("parentheses are left out", "emit")
def _leave_parentheses_out(baseline: Baseline) -> Sites:
    """`(a + b) * c` as `a + b * c`."""

    def reassociate(node: ast.BinOp) -> None:
        inner = node.left
        assert isinstance(inner, ast.BinOp)
        node.left, node.right = inner.left, ast.BinOp(inner.right, node.op, node.right)
        node.op = inner.op

    for place, node, _ in _in_forward(baseline.files):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div | ast.Pow):
            inner = node.left
            if isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Add | ast.Sub):
                yield _show(place, node), place.edit(reassociate)


@fault("an argument is not printed", "emit")
def _leave_arguments_out(baseline: Baseline) -> Sites:
    for place, node, _ in _in_forward(baseline.files):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg not in HARMLESS or keyword.arg == "vocabulary":
                    name = str(keyword.arg)
                    yield (
                        f"{_show(place, node)} without {name}",
                        place.edit(partial(_drop_keyword, name=name)),
                    )


def _set(node: ast.AST, field: str, value: object) -> None:
    setattr(node, field, value)


def _set_keyword(node: ast.Call, at: int, value: ast.expr) -> None:
    node.keywords[at].value = deepcopy(value)


def _change_keyword(node: ast.Call, at: int) -> None:
    _change(node.keywords[at], "value")


def _drop_keyword(node: ast.Call, name: str) -> None:
    node.keywords = [keyword for keyword in node.keywords if keyword.arg != name]


@fault("another number is printed", "emit")
def _print_other_numbers(baseline: Baseline) -> Sites:
    for place, node, method in _walk(baseline.files):
        if method is None or not isinstance(node, ast.Constant) or type(node.value) not in (int, float):
            continue
        assert isinstance(node.value, int | float)
        if method.name == "forward" or isinstance(node.value, float):
            other = node.value + 1 if isinstance(node.value, int) else 1.5 * node.value or 0.5
            number = f"{_show(place, node)} at {node.col_offset} as {other}"
            yield number, place.edit(partial(_set, field="value", value=other))


@fault("a statement is left out", "emit")
def _leave_statements_out(baseline: Baseline) -> Sites:
    """One whose names have values without it, too."""

    def leave_out(method: ast.FunctionDef, line: int) -> None:
        for body in (each.body for each in ast.walk(method) if isinstance(each, ast.FunctionDef | ast.For)):
            for number, statement in enumerate(body):
                if statement.lineno == line:
                    body[number] = ast.Pass()

    for place, method, _ in _walk(baseline.files):
        if not isinstance(method, ast.FunctionDef) or method.name != "forward":
            continue
        bound = {argument.arg for argument in method.args.args}
        for statement in _statements(method):
            names = {
                node.id
                for node in ast.walk(statement)
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            }
            begins_at_zero = isinstance(statement, ast.Assign) and "convert(balance" in ast.unparse(statement)
            left_out = isinstance(statement, ast.AugAssign) or (names and names <= bound)
            if left_out and not (begins_at_zero and place.file == "stage_0.py"):
                change = place.edit(partial(leave_out, line=statement.lineno))
                yield _show(place, statement), change
            bound |= names


def _statements(method: ast.FunctionDef) -> Iterator[ast.stmt]:
    for statement in method.body:
        yield from statement.body if isinstance(statement, ast.For) else (statement,)


@fault("another variable is printed", "emit")
def _print_other_variables(baseline: Baseline) -> Sites:
    for place, node, method in _in_forward(baseline.files):
        if not isinstance(node, ast.Name) or not isinstance(node.ctx, ast.Load):
            continue
        tensors = _tensor_names(method, node.lineno)
        if node.id not in tensors or _is_read_for_its_shape(method, node):
            continue
        for other in tensors:
            if other != node.id:
                site = f"{_show(place, node)} at {node.col_offset} as {other}"
                yield site, place.edit(partial(_set, field="id", value=other))


def _tensor_names(method: ast.FunctionDef, line: int) -> list[str]:
    """The variables before a line that hold tensors by what their annotation or a collective says."""
    arguments = method.args.args[1:]
    names = [each.arg for each in arguments if each.annotation and ast.unparse(each.annotation) == "Tensor"]
    for statement in _statements(method):
        if (
            statement.lineno < line
            and isinstance(statement, ast.Assign)
            and isinstance(statement.value, ast.Call)
        ):
            names += [each.id for each in statement.targets if isinstance(each, ast.Name)]
    return list(dict.fromkeys(names))


def _is_read_for_its_shape(method: ast.FunctionDef, name: ast.Name) -> bool:
    for node in ast.walk(method):
        match node:
            case ast.Attribute(attr=attribute) if attribute in SHAPES:
                read = [node.value]
            case ast.Call(func=ast.Attribute(attr=attribute)) if attribute in SHAPES:
                read = node.args
            case _:
                continue
        if any(_same(inner, name) for each in read for inner in ast.walk(each)):
            return True
    return False


def _same(one: ast.AST, other: ast.Name) -> bool:
    return isinstance(one, ast.Name) and (one.lineno, one.col_offset) == (other.lineno, other.col_offset)


@fault("a setting is another", "emit")
def _change_settings(baseline: Baseline) -> Sites:
    """Of batch, loss and optimizer."""
    decays = baseline.plan.train.optimizer.decay != "constant"
    for number, node in enumerate(ast.walk(ast.parse(baseline.files["train.py"]))):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id.endswith("Settings")
        ):
            yield from _change_keywords(baseline, number, node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Objective":
            yield from _change_keywords(baseline, number, node)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("SEED", "STEPS"):
            place = _Place("train.py", number)
            if ast.unparse(node.targets[0]) == "STEPS" and not decays:
                continue  # the learning rate alone depends on it
            yield f"train.py {ast.unparse(node)}", place.edit(partial(_change, field="value"))


def _change_keywords(baseline: Baseline, number: int, node: ast.Call) -> Sites:
    place = _Place("train.py", number)
    for at, keyword in enumerate(node.keywords):
        decays = baseline.plan.train.optimizer.decay != "constant"
        if keyword.arg in HARMLESS or (keyword.arg == "min_lr" and not decays):
            continue
        site = f"train.py {ast.unparse(node.func)} {ast.unparse(keyword)}"
        if isinstance(keyword.value, ast.Constant):
            yield f"{site} changed", place.edit(partial(_change_keyword, at=at))
        required = keyword.arg in ("sequences", "length", "microbatches", "seed", "shift", "returns")
        if not required and not _is_default(str(keyword.arg), keyword.value):
            yield f"{site} left out", place.edit(partial(_drop_keyword, name=str(keyword.arg)))


DEFAULTS = {"ignore_index": -100, "decay": "constant", "beta1": 0.9, "beta2": 0.95, "eps": 1e-8}
DEFAULTS |= {"weight_decay": 0.1, "clip": None, "warmup": 0, "min_lr": 0.0, "balance": None}


def _is_default(name: str, given: ast.expr) -> bool:
    return ast.unparse(given) in (repr(DEFAULTS.get(name, ...)), "()")


OTHERS = {"cosine": "linear", "linear": "cosine", "constant": "cosine", None: "cosine", "data": "model"}
OTHERS |= {"model": "data", "logits": "loss", "loss": "logits"}


def _change(owner: Any, field: str) -> None:
    constant = getattr(owner, field)
    value = constant.value
    if isinstance(value, int | float) and not isinstance(value, bool):
        changed: Any = value + 1 if isinstance(value, int) else 1.5 * value or 0.5
    else:
        changed = OTHERS[value]
    setattr(owner, field, ast.Constant(changed))


@fault("a stage is declared otherwise", "emit")
def _declare_stages_otherwise(baseline: Baseline) -> Sites:
    for number, node in enumerate(ast.walk(ast.parse(baseline.files["train.py"]))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "StageSpec":
            place = _Place("train.py", number)
            for at, keyword in enumerate(node.keywords):
                if keyword.arg == "first_layer":
                    yield f"{number} first_layer", place.edit(partial(_change_keyword, at=at))
                elif keyword.arg == "build":
                    yield from _build_another(baseline, place, at, ast.unparse(keyword.value))
                else:
                    name = str(keyword.arg)
                    yield f"{number} without {name}", place.edit(partial(_drop_keyword, name=name))


def _build_another(baseline: Baseline, place: _Place, at: int, built: str) -> Sites:
    stages = [f"{file[:-3]}.Stage" for file in baseline.files if re.fullmatch(r"stage_\d+\.py", file)]
    for other in stages:
        if other != built:
            tree = ast.parse(other, mode="eval").body
            yield (
                f"{place.number} builds {other}",
                place.edit(partial(_set_keyword, at=at, value=tree)),
            )


@fault("the topology is another", "emit")
def _build_other_topologies(baseline: Baseline) -> Sites:
    for number, node in enumerate(ast.walk(ast.parse(baseline.files["train.py"]))):
        place = _Place("train.py", number)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Topology.build":
            for keyword in node.keywords:
                if keyword.arg in ("data", "pipeline"):
                    name = keyword.arg
                    yield f"without {name}", place.edit(partial(_drop_keyword, name=name))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "AXES":
            assert isinstance(node.value, ast.Dict)
            if len(node.value.keys) > 1:
                yield "axes in another order", place.edit(_reverse_axes)


def _reverse_axes(node: ast.Assign) -> None:
    assert isinstance(node.value, ast.Dict)
    node.value.keys.reverse()
    node.value.values.reverse()


@fault("a placement is printed otherwise", "emit")
def _print_placements_otherwise(baseline: Baseline) -> Sites:
    tree = ast.parse(baseline.files["model.py"])
    for number, node in enumerate(ast.walk(tree)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Placement":
            place = _Place("model.py", number)
            for keyword in node.keywords:
                name = str(keyword.arg)
                site = f"line {node.lineno} {ast.unparse(node)[:60]} without {name}"
                yield site, place.edit(partial(_drop_keyword, name=name))
            if len(node.args) > 1:
                yield f"line {node.lineno} {ast.unparse(node)[:60]} whole", place.edit(lambda n: n.args.pop())


@fault("a member is of another class", "emit")
def _build_other_members(baseline: Baseline) -> Sites:
    def exchange(method: ast.FunctionDef, one: int, other: int) -> None:
        first, second = method.body[one], method.body[other]
        assert isinstance(first, ast.Assign)
        assert isinstance(second, ast.Assign)
        first.value, second.value = second.value, first.value

    for place, method, _ in _walk(baseline.files):
        if isinstance(method, ast.FunctionDef) and method.name == "__init__":
            made = [
                (number, each)
                for number, each in enumerate(method.body)
                if isinstance(each, ast.Assign) and isinstance(each.value, ast.Call)
            ]
            for (one, first), (other, second) in pairwise(made):
                if ast.unparse(first.value) != ast.unparse(second.value):
                    site = (
                        f"{place.file}:{first.lineno} {ast.unparse(first)[:40]}, {ast.unparse(second)[:40]}"
                    )
                    yield site, place.edit(partial(exchange, one=one, other=other))
