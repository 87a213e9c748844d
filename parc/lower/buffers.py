"""Buffers as the statements that compute them."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx

from parc.lower.expression import Text, Written
from parc.lower.op_printers import with_texts, write


@dataclass
class Computation:
    """Statements written so far, so that what two buffers share is computed once."""

    names: dict[str, str] = field(default_factory=dict)  # of values, by their text


def computed(
    graph: fx.Graph, known: Computation, wish: str, dtype: torch.dtype
) -> tuple[tuple[str, ...], str]:
    """The statements that compute a constructor's buffer, and its expression; what is used once is in it."""
    texts: dict[fx.Node, Text] = {}
    statements: list[str] = []
    for node in graph.nodes:
        if node.op == "output":
            (result,) = node.args[0]
            final = texts[result].text
            return tuple(statements), final if result.meta["val"].dtype == dtype else f"({final}).to({dtype})"
        args, kwargs = with_texts(node, texts.__getitem__)
        shapes = [tuple(o.meta["val"].shape) for o in node.all_input_nodes]
        written = Written(node, args, kwargs, shapes, _shapes(node), "device")
        text = (
            write(written)
            if node.target is operator.getitem or node.target._schema.name != "aten::detach"
            else written.first
        )
        texts[node] = text
        uses = sum(1 for user in node.users for operand in user.all_input_nodes if operand is node)
        if (
            uses > 1 or (isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable)
        ) and not text.text.isidentifier():
            name = known.names.get(text.text)
            if name is None:
                name = known.names[text.text] = f"{wish.rsplit('.', maxsplit=1)[-1]}_{len(known.names)}"
                statements.append(f"{name} = {text.text}")
            texts[node] = Text(name)
    raise AssertionError("a graph ends with its output")


def _shapes(node: fx.Node) -> list[tuple[int, ...]]:
    val = node.meta["val"]
    return [tuple(v.shape) for v in ([val] if isinstance(val, Tensor) else val)]
