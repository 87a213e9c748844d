"""What a name is made of: the class of a model, the training of a plan, the machine of a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from parc.lsp.completion.model import locate_factory
from parc.lsp.document.analysis import Analysis, resolve_path
from parc.lsp.document.mentions import find_definition
from parc.lsp.document.symbols import Symbol
from parc.source import Span
from parc.syntax import tree

TYPES = {"plan": "train", "train": "model", "cluster": "machine"}  # the block that a block is one of


class CodePosition(NamedTuple):
    path: Path
    line: int  # 0-based


def find_type(analysis: Analysis, symbol: Symbol) -> Span | CodePosition | None:
    """Of a model its class in Python, of a block the block that it is one of, else the definition."""
    block = _find_block(analysis, symbol)
    if block is None:
        defined = find_definition(analysis, symbol)
        return defined.span if defined else None
    if symbol.kind == "model":
        return _find_factory(block)
    if symbol.kind == "plan" and block.purpose:
        return _find_named(analysis, "train", block.purpose.text)
    name = _get_value(block, TYPES.get(symbol.kind, ""))
    return _find_named(analysis, TYPES[symbol.kind], name.text) if isinstance(name, tree.Path) else None


def _find_named(analysis: Analysis, kind: str, name: str) -> Span | None:
    defined = find_definition(analysis, Symbol(kind, name))
    return defined.span if defined else None


def _find_factory(block: tree.Block) -> CodePosition | None:
    source = _get_value(block, "source")
    if not isinstance(source, tree.String):
        return None
    found = locate_factory(resolve_path(source.span.source.path).parent, source.value)
    return CodePosition(*found) if found else None


def _find_block(analysis: Analysis, symbol: Symbol) -> tree.Block | None:
    for file in analysis.files.values():
        for statement in file.statements:
            named = isinstance(statement, tree.Block) and statement.label and statement.label.text
            if isinstance(statement, tree.Block) and (statement.kind.text, named) == symbol[:2]:
                return statement
    return None


def _get_value(block: tree.Block, key: str) -> tree.Expression | None:
    for statement in block.body.statements if block.body else ():
        if isinstance(statement, tree.Assignment) and statement.path.text == key:
            return statement.value
    return None
