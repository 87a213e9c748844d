"""What capturing yields: one graph for every distinct module, and the calls between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, fx


@dataclass(frozen=True)
class Line:
    """A line of the user's source."""

    file: Path
    number: int


@dataclass(eq=False)
class Body:
    """The graph of one distinct module, over global shapes.

    Its placeholders are parameters and buffers (`meta["tensor"]` names them, relative to the module), then inputs.
    Every other node is an operator of torch, `parc.call` (`meta["child"]`: path relative to the module, and its Body) or
    `parc.experts`. `meta["val"]` of a node is a tensor without data, or a tuple of them.
    """

    name: str  # of the user's class
    path: str  # of one module that it was captured from
    graph: fx.Graph
    doc: str | None = None
    is_expert: bool = False
    children: dict[str, "Body"] = field(default_factory=dict)  # by relative path

    def inputs(self) -> list[fx.Node]:
        return [n for n in self.graph.nodes if n.op == "placeholder" and "tensor" not in n.meta]

    def tensors(self) -> list[fx.Node]:
        return [n for n in self.graph.nodes if n.op == "placeholder" and "tensor" in n.meta]

    def operations(self) -> Iterator[fx.Node]:
        yield from (n for n in self.graph.nodes if n.op == "call_function")

    def results(self) -> list[fx.Node]:
        output = next(iter(reversed(self.graph.nodes)))
        return list(output.args[0])


def value(node: fx.Node) -> Tensor:
    """The tensor without data that stands for a node's value."""
    val = node.meta["val"]
    assert isinstance(val, Tensor), node
    return val


def shape(node: fx.Node) -> tuple[int, ...]:
    return tuple(value(node).shape)


def lines_of(node: fx.Node) -> list[Line]:
    """Where in the user's source the operation stands, callers first: the frames that are neither torch's nor ours."""
    found = []
    for text in (node.meta.get("stack_trace") or "").splitlines():
        if text.lstrip().startswith('File "'):
            file, number = text.split('"')[1], text.split("line ")[1].split(",")[0]
            if not file.startswith(_TORCH) and not file.startswith(_PARC):
                found.append(Line(Path(file), int(number)))
    return found


_TORCH = str(Path(torch.__file__).parent)
_PARC = str(Path(__file__).parent)
