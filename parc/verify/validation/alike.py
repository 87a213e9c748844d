"""Which parts of an emitted program have no counterpart in the smaller program that was run in its place.

The two are compared as syntax trees, by parts: a class, an entry of a table, a statement of `train.py`. Parts
correspond if they differ in numbers, floating-point types and numbers of stages alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence

from parc.emit.program import Files

_DTYPES = {
    *("torch.float16", "torch.bfloat16", "torch.float32", "torch.float64"),
    *("torch.complex64", "torch.complex128"),
}
_FIGURES = {"flops", "peak_flops"}  # of the cost model: for metrics alone


def find_unmatched(emitted: Files, sample: Files) -> list[str]:
    """The parts of `emitted` that `sample` lacks, each as "`Name` of `file.py`"."""
    known = {key for name, content in _list_modules(sample) for _, key in _split_parts(name, content)}
    return [
        f"{part} of `{name}`"
        for name, content in _list_modules(emitted)
        for part, key in _split_parts(name, content)
        if key not in known
    ]


def _list_modules(files: Files) -> Iterator[tuple[str, bytes]]:
    """The modules that are made for a plan; those of the runtime are the same in every program."""
    return ((name, content) for name, content in files.items() if re.fullmatch(r"\w+\.py", name))


def _split_parts(name: str, content: bytes) -> Iterator[tuple[str, str]]:
    """A name for each part of a module, and a text that corresponding parts share."""
    module, body = re.sub(r"\d+", "N", name), ast.parse(content).body
    constants = dict(_list_constants(body))
    for statement in body:
        match statement:
            case ast.Import() | ast.ImportFrom() | ast.Expr():
                continue  # what a module imports follows from its other parts
            case ast.Assign(targets=[ast.Name(constant)]) if constant.lower() in _FIGURES:
                continue
            case ast.ClassDef() | ast.FunctionDef():
                yield f"`{statement.name}`", f"{module} {_mask(statement)}"
            case ast.Assign(targets=[ast.Name(table)], value=ast.Dict() as entries):
                yield from _split_entries(f"{module} {table}", entries, constants)
            case ast.Assign(
                targets=[ast.Name(table)],
                value=ast.Call(_, [], [rule, ast.keyword(value=ast.Dict() as entries)]),
            ):
                yield f"`{ast.unparse(rule)}` of `{table}`", f"{module} {table} {_mask(rule)}"
                yield from _split_entries(f"{module} {table}", entries, constants)
            case ast.Assign(targets=[ast.Name(constant)]) if constant in constants:
                continue  # it stands in the entries that name it
            case ast.Assign(targets=[ast.Name(table)], value=ast.Tuple(elements)):
                for number, element in enumerate(elements):
                    yield f"`{table}[{number}]`", f"{module} {table} {_mask(element)}"
            case _:
                yield f"`{ast.unparse(statement)}`", f"{module} {_mask(statement)}"


def _list_constants(body: Sequence[ast.stmt]) -> Iterator[tuple[str, ast.Call]]:
    """The initial values that a module names, since several entries of its table have them."""
    for statement in body:
        match statement:
            case ast.Assign(targets=[ast.Name(constant)], value=ast.Call(func=ast.Name(function)) as value):
                if re.fullmatch(rf"{function.upper()}(_\d+)?", constant):
                    yield constant, value


def _split_entries(
    table: str, entries: ast.Dict, constants: Mapping[str, ast.Call]
) -> Iterator[tuple[str, str]]:
    for key, value in zip(entries.keys, entries.values, strict=True):
        assert key is not None
        names = r"\b(" + "|".join(constants) + r")\b"
        text = ast.unparse(value)
        written = re.sub(names, lambda found: ast.unparse(constants[found[0]]), text) if constants else text
        yield f"`{ast.unparse(key)}`", f"{table} {_mask(key)} {_mask(ast.parse(written))}"


def _mask(tree: ast.AST) -> str:
    """A text of a tree without what depends on sizes, on the precision, and on the number of a stage."""
    masked = _Mask().visit(ast.parse(ast.unparse(tree)))
    for node in ast.walk(masked):
        if isinstance(node, ast.FunctionDef):
            _drop_conversions(node)
    return ast.dump(masked)


def _drop_conversions(function: ast.FunctionDef) -> None:
    """Drops the variables of a function that only hold what a conversion is of, or what it makes.

    `hidden = x.to(..)` is `hidden = x` by now, and a result that is converted has a name before.
    """
    alike: dict[str, ast.expr] = {}
    body: list[ast.stmt] = []
    for written in function.body:
        statement = _Renamer(alike).visit(written)
        for variable in _list_bound(statement):
            alike.pop(variable, None)
        match statement:
            case ast.Assign([ast.Name(held)], ast.Name() as source):
                alike[held] = source
            case ast.Return(ast.Name(returned)) if body and _list_bound(body[-1]) == [returned]:
                last = body.pop()
                assert isinstance(last, ast.Assign)
                body.append(ast.Return(last.value))
            case _:
                body.append(statement)
    function.body = body


def _list_bound(statement: ast.stmt) -> list[str]:
    """The variables that a statement assigns to."""
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]


class _Renamer(ast.NodeTransformer):
    def __init__(self, names: Mapping[str, ast.expr]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return self.names.get(node.id, node) if isinstance(node.ctx, ast.Load) else node


class _Mask(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, str):
            return ast.Constant(re.sub(r"\d+([-,]\d+)*", "N", node.value))
        is_number = isinstance(node.value, (int, float)) and not isinstance(node.value, bool)
        return ast.Constant(0) if is_number else node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        """A list of layers as the classes that it has."""
        text = ast.unparse(node.value)
        if "first_layer" not in text:
            return self.generic_visit(node)
        kinds = sorted(set(re.findall(r"\b[A-Z]\w*(?=\()", text)))
        return ast.Assign(node.targets, ast.Constant(" ".join(kinds)), lineno=0)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """A call without its `dtype` and the cost model's figures; of a conversion to a type, the operand."""
        if isinstance(node.func, ast.Attribute) and node.func.attr == "to" and any(map(_is_dtype, node.args)):
            operand: ast.AST = self.visit(node.func.value)
            return operand
        kept = [each for each in node.keywords if each.arg not in _FIGURES and not _is_dtype(each.value)]
        return self.generic_visit(ast.Call(node.func, node.args, kept))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        inner = self.visit(node.operand)  # -1 and 1 are numbers alike
        return inner if isinstance(inner, ast.Constant) else ast.UnaryOp(node.op, inner)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(re.sub(r"^stage_\d+$", "stage_N", node.id), node.ctx)


def _is_dtype(node: ast.expr) -> bool:
    return ast.unparse(node) in _DTYPES
