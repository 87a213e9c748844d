"""Edits of Python source: one call replaced, one piece of text replaced."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

IMPORTS_END = "from torch.distributed.device_mesh import DeviceMesh\n"  # of a stage: parc's own follow


@dataclass(frozen=True)
class Made:
    """A call in a class of a stage: the class, and the text or the name of the call."""

    unit: str
    name: str
    call: ast.Call


class Source:
    """The text of a stage, and the calls in it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = ast.parse(text)
        self._starts = [0]  # of lines, in bytes: what `ast` counts columns in
        for line in text.encode().splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def placements(self) -> Iterator[tuple[str, ast.Call]]:
        """The entries of the table of placements: a key and a call of `Placement`."""
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PLACEMENTS":
                assert isinstance(node.value, ast.Dict)
                for key, value in zip(node.value.keys, node.value.values, strict=True):
                    assert isinstance(key, ast.Constant)
                    assert isinstance(value, ast.Call)
                    yield str(key.value), value

    def calls(self, functions: tuple[str, ...]) -> Iterator[Made]:
        """Calls of functions by their bare names in forward passes, in the order of the text."""
        for unit in self._classes():
            found = [
                node
                for node in ast.walk(unit)
                if isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in functions
            ]
            for node in sorted(found, key=lambda node: (node.lineno, node.col_offset)):
                yield Made(unit.name, ast.unparse(node), node)

    def groups(self) -> Iterator[Made]:
        """Where a unit takes the process group of an axis, its name: `self.tp = mesh.get_group("tp")`."""
        for unit in self._classes():
            for node in ast.walk(unit):
                call = node.value if isinstance(node, ast.Assign) else None
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "mesh.get_group":
                    yield Made(unit.name, ast.literal_eval(call.args[0]), call)

    def replaced(self, node: ast.expr, text: str, imports: str = "") -> bytes:
        """The source with an expression replaced; `imports` is a statement that the new one needs."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        data = self.text.encode()
        start = self._starts[node.lineno - 1] + node.col_offset
        end = self._starts[node.end_lineno - 1] + node.end_col_offset
        changed = data[:start] + text.encode() + data[end:]
        if imports:
            assert IMPORTS_END.encode() in changed
            changed = changed.replace(IMPORTS_END.encode(), f"{IMPORTS_END}{imports}\n".encode(), 1)
        return changed

    def _classes(self) -> Iterator[ast.ClassDef]:
        return (node for node in self.tree.body if isinstance(node, ast.ClassDef))


def patched(text: str, old: str, new: str) -> str:
    """The text with a piece replaced that occurs once. Raises LookupError where it does not."""
    if text.count(old) != 1:
        raise LookupError(f"{text.count(old)} times instead of once: {old!r}")
    return text.replace(old, new)
