"""Calls in an emitted file that defines classes, and edits of its expressions."""

from __future__ import annotations

import ast
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import NamedTuple

IMPORTS_END = "from torch.distributed.device_mesh import DeviceMesh\n"  # the imports of the runtime follow


class CallSite(NamedTuple):
    """A call in a class of an emitted file."""

    unit: str  # the class
    call: ast.Call


@dataclass(frozen=True)
class StageSource:
    """The text of a file that defines classes, and the calls in it."""

    text: str

    def find_placements(self) -> Iterator[tuple[str, ast.Call, tuple[str, ...]]]:
        """The entries of the table of placements: a key, a call of `Placement`, and the axes of the table."""
        for node in ast.parse(self.text).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PLACEMENTS":
                table, rule = node.value, ()
                if isinstance(table, ast.Call):
                    given = {keyword.arg: keyword.value for keyword in table.keywords}
                    table, rule = given["parameters"], ast.literal_eval(given["reduce"])
                assert isinstance(table, ast.Dict)
                for key, value in zip(table.keys, table.values, strict=True):
                    assert isinstance(key, ast.Constant)
                    assert isinstance(value, ast.Call)
                    yield str(key.value), value, rule

    def find_calls(self, functions: Container[str]) -> Iterator[CallSite]:
        """The calls of functions in classes, in the order of the text. A name is as it is written."""
        for unit in ast.parse(self.text).body:
            calls = [node for node in ast.walk(unit) if isinstance(node, ast.Call)]
            for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
                if isinstance(unit, ast.ClassDef) and ast.unparse(call.func) in functions:
                    yield CallSite(unit.name, call)

    def replace(self, node: ast.expr, text: str, imports: str = "") -> bytes:
        """The source with an expression replaced. `imports` is a statement that the new one needs."""
        lines = self.text.encode().splitlines(keepends=True)  # `ast` counts columns in bytes
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        before = [*lines[: node.lineno - 1], lines[node.lineno - 1][: node.col_offset]]
        after = [lines[node.end_lineno - 1][node.end_col_offset :], *lines[node.end_lineno :]]
        changed = b"".join([*before, text.encode(), *after])
        if imports:
            assert IMPORTS_END.encode() in changed
            changed = changed.replace(IMPORTS_END.encode(), f"{IMPORTS_END}{imports}\n".encode(), 1)
        return changed
