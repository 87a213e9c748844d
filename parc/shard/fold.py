"""Partial evaluation of a trace whose routing is known: what is left is the arithmetic on rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

aten = torch.ops.aten


class Unfoldable(Exception):
    """The arithmetic of one expert cannot be told from its routing. `node` carries the source line, where known."""

    def __init__(self, reason: str, node: fx.Node | None) -> None:
        super().__init__(reason)
        self.reason, self.node = reason, node


def folded(traced: fx.GraphModule) -> fx.Graph:
    """A graph over the placeholders of `traced` without constants. Raises Unfoldable where a constant remains.

    `meta["val"]` of its nodes are real tensors of the traced shapes.
    """
    return _Folder(traced).run()


class _Folder:
    def __init__(self, traced: fx.GraphModule) -> None:
        self.traced = traced
        self.graph = fx.Graph()
        self.known: dict[fx.Node, Any] = {}  # what an old node is now: a new node, or a value

    def run(self) -> fx.Graph:
        for node in self.traced.graph.nodes:
            if node.op == "placeholder":
                self.known[node] = self.graph.placeholder(node.name)
                self.known[node].meta["val"] = _placeholder_value(node)
            elif node.op == "get_attr":
                self.known[node] = getattr(self.traced, str(node.target))
            elif node.op == "call_function":
                self._operation(node)
            else:
                self._output(node)
        self.graph.eliminate_dead_code()
        return self.graph

    def _output(self, node: fx.Node) -> None:
        result = self.known[node.args[0]]
        if not isinstance(result, fx.Node):
            raise Unfoldable("its result does not depend on its tokens", None)
        self.graph.output((result,))

    def _operation(self, node: fx.Node) -> None:
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: self.known[n])  # type: ignore[misc]
        result = self._evaluated(node, args, kwargs)
        self.known[node] = result
        target = node.target
        if isinstance(target, torch._ops.OpOverload) and target._schema.is_mutable:
            changed = node.args[0]
            assert isinstance(changed, fx.Node)
            self.known[changed] = result

    def _evaluated(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        operands = [a for a in torch.utils._pytree.tree_leaves((args, kwargs)) if isinstance(a, fx.Node)]
        if not operands:
            return _run(node, args, kwargs)
        value = _run(node, *fx.map_arg((args, kwargs), lambda n: n.meta["val"]))  # type: ignore[misc]
        if _made_from_shape(node):
            return value
        if isinstance(value, Tensor) and value.numel() == 0:
            return value
        simpler = _simplified(node, args, kwargs, value)
        if simpler is not None:
            return simpler
        if any(isinstance(a, Tensor) for a in torch.utils._pytree.tree_leaves((args, kwargs))):
            raise Unfoldable(f"`{node.target}` mixes rows with what depends on the routing", node)
        new = self.graph.call_function(node.target, args, kwargs)  # type: ignore[arg-type]
        new.meta.update({"val": value, "stack_trace": node.meta.get("stack_trace")})
        return new


def _run(node: fx.Node, args: Any, kwargs: Any) -> Any:
    """The value of an operation. What it would change in place is copied first: earlier values are still needed."""
    target = node.target
    if isinstance(target, torch._ops.OpOverload) and target._schema.is_mutable:
        args = (args[0].clone(), *args[1:])
    return target(*args, **kwargs)  # type: ignore[operator]


def _placeholder_value(node: fx.Node) -> Tensor:
    meta = node.meta.get("val")
    if meta is None:
        meta = node.meta["tensor_meta"]
    return torch.empty(meta.shape, dtype=meta.dtype)


def _made_from_shape(node: fx.Node) -> bool:
    return node.target in (aten.zeros_like.default, aten.new_zeros.default, aten.full_like.default, aten.ones_like.default,
                           aten.empty_like.default, aten.new_full.default, aten.new_empty.default)


def _simplified(node: fx.Node, args: Any, kwargs: Any, value: Any) -> Any:
    """What an operation comes to when its routing operands are known; None where it stays."""
    name = node.target._schema.name.rstrip("_") if isinstance(node.target, torch._ops.OpOverload) else ""
    first = args[0] if args else None
    if name in ("aten::mul", "aten::div") and _is(args[1], 1) and _same(args[0], value):
        return args[0]
    if name == "aten::mul" and _is(args[0], 1) and _same(args[1], value):
        return args[1]
    if name == "aten::add":
        if _is(args[0], 0) and _same(args[1], value):
            return args[1]
        if _is(args[1], 0) and _same(args[0], value):
            return args[0]
    if name == "aten::index" and isinstance(first, fx.Node) and len(args[1]) == 1 and _every_row(args[1][0], first):
        return first
    if name == "aten::index_select" and isinstance(first, fx.Node) and args[1] == 0 and _every_row(args[2], first):
        return first
    if name in ("aten::index_add", "aten::index_copy") and args[1] == 0:
        return _put(first, args[2], args[3])
    if name == "aten::index_put" and len(args[1]) == 1:
        return _put(first, args[1][0], args[2])
    if name in ("aten::to", "aten::_to_copy", "aten::contiguous", "aten::clone", "aten::expand", "aten::view", "aten::reshape",
                "aten::repeat_interleave", "aten::alias") and isinstance(first, fx.Node) and _same(first, value):
        return first
    return None


def _put(into: Any, rows: Any, values: Any) -> Any:
    """Adding or writing rows into zeros."""
    if isinstance(rows, Tensor) and (rows.numel() == 0 or (rows.dtype == torch.bool and not rows.any())):
        return into
    if isinstance(into, Tensor) and _is(into, 0) and isinstance(values, fx.Node) and _every_row(rows, values):
        return values
    return None


def _is(value: Any, number: float) -> bool:
    return isinstance(value, Tensor) and value.numel() > 0 and bool((value == number).all())


def _same(node: Any, value: Any) -> bool:
    if not isinstance(node, fx.Node) or not isinstance(value, Tensor):
        return False
    mine = node.meta["val"]
    return bool(mine.shape == value.shape and mine.dtype == value.dtype)


def _every_row(rows: Any, of: fx.Node) -> bool:
    """Whether an index or a mask picks every row in order."""
    count = of.meta["val"].shape[0]
    if not isinstance(rows, Tensor) or rows.ndim != 1 or rows.numel() != count:
        return False
    return bool(rows.all()) if rows.dtype == torch.bool else torch.equal(rows, torch.arange(count))
