"""Rows of tokens while all experts are traced in one run.

Token block i, of as many rows for each expert, is routed to expert i. A tensor of rows is then a sequence of
whole blocks, and what an operation does to it is known for each expert by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, fx

ROWS = 3  # for each expert: more than one, and not a size that a model is likely to have


@dataclass(frozen=True)
class Rows:
    """The blocks of a tensor in order: the expert of each, and the node that computes its rows.

    The node is None where the rows are zeros that no expert has added to.
    """

    nodes: dict[int, fx.Node | None]

    @property
    def experts(self) -> tuple[int, ...]:
        """The expert of each block."""
        return tuple(self.nodes)

    def list_nodes(self) -> list[fx.Node]:
        """The nodes of the blocks that are not zeros."""
        return [node for node in self.nodes.values() if node is not None]

    def pick(self, blocks: Sequence[int]) -> Rows | None:
        """Some of the blocks, by their places; None where one is picked twice."""
        experts = self.experts
        return join_rows(Rows({experts[block]: self.nodes[experts[block]]}) for block in blocks)

    def replace(self, blocks: Sequence[int], values: Rows, add: bool) -> Rows | None:
        """With the nodes of `values` for some blocks.

        None where those are blocks of other experts, or `add` asks for a sum with what is there.
        """
        experts = self.experts
        if tuple(experts[block] for block in blocks) != values.experts:
            return None
        if add and any(self.nodes[expert] for expert in values.nodes):
            return None
        return Rows(self.nodes | values.nodes)


class TraceTable:
    """What is known of the tensors of a run, by their ids: rows, and what is made of parameters alone."""

    def __init__(self, experts: int, size: int) -> None:
        self.experts = experts  # how many
        self.size = size  # rows of a block
        self.weights: dict[int, fx.Node] = {}
        self._rows: dict[int, Rows] = {}
        self._alive: list[Tensor] = []  # no id is met twice

    def add(self, tensor: Tensor, rows: Rows) -> Tensor:
        """The tensor, known from now on as these rows."""
        self._rows[id(tensor)] = rows
        self._alive.append(tensor)
        return tensor

    def add_weight(self, tensor: Tensor, node: fx.Node) -> None:
        """A parameter, a buffer, or what is made of them alone."""
        self.weights[id(tensor)] = node
        self._alive.append(tensor)

    def find(self, value: object) -> Rows | None:
        """The rows that a value is known as."""
        return self._rows.get(id(value))

    def knows(self, value: object) -> bool:
        """Whether a value depends on rows or parameters."""
        return id(value) in self._rows or id(value) in self.weights


def join_rows(parts: Iterable[Rows]) -> Rows | None:
    """The blocks of all parts in order; None where an expert has several."""
    blocks = [*chain.from_iterable(part.nodes.items() for part in parts)]
    joined = dict(blocks)
    return Rows(joined) if len(joined) == len(blocks) else None


def select_blocks(index: object, size: int) -> list[int] | None:
    """The places of the blocks that an index or a mask of rows picks; None where it picks parts of blocks.

    The rows of a block may come in any order: sorting by expert need not be stable, and rows are alike.
    """
    if not isinstance(index, Tensor) or index.ndim != 1:
        return None
    rows = (index.nonzero().flatten() if index.dtype == torch.bool else index).tolist()
    blocks = [sorted(rows[start : start + size]) for start in range(0, len(rows), size)]
    whole = all(block == [*range(block[0], block[0] + size)] and block[0] % size == 0 for block in blocks)
    return [block[0] // size for block in blocks] if whole else None


def slice_blocks(start: int, end: int, size: int) -> list[int] | None:
    """The places of the blocks between two rows; None where a block is cut."""
    whole = start % size == 0 and end % size == 0
    return list(range(start // size, end // size)) if whole else None


def allocate_blank(block: Tensor, count: int) -> Tensor:
    """Memory that is never read, for as many blocks as `count` says, each like `block`."""
    return torch.empty_strided((count * len(block), *block.shape[1:]), block.stride(), dtype=block.dtype)
