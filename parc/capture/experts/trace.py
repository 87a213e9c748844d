"""Tracing a module of experts in one run: the routing is computed, the rows are traced.

What depends on the routing alone (loops over experts, masks, sorts) is computed and forgotten. What moves
blocks of rows, adds them to zeros, or weights them with 1 leaves them as they are. All else that rows go
through becomes nodes of a graph: one for each expert whose rows they are. No value of a row is ever computed;
a decision that would read one is refused.
"""

from __future__ import annotations

import operator
from collections import ChainMap
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from parc.capture.experts.rows import ROWS, Rows, blank, join_rows, select_blocks, slice_blocks
from parc.capture.graph import user_frames

aten = torch.ops.aten
_ASKS = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select")  # values, not only tensors
_SHAPE_ALONE = (
    "zeros_like",
    "new_zeros",
    "ones_like",
    "full_like",
    "empty_like",
    "new_full",
    "new_empty",
    "new_ones",
)
_UNSET = ("empty", "empty_like", "empty_strided", "new_empty")
_RESHAPES = (
    *("_to_copy", "clone", "expand", "view", "_unsafe_view", "alias", "detach", "repeat_interleave"),
    *("unsqueeze", "squeeze", "select", "sum"),
)


class UnsupportedExperts(Exception):
    """The arithmetic of one expert cannot be separated from the routing. `node` has the line, if known."""

    def __init__(self, reason: str, node: fx.Node | None = None) -> None:
        super().__init__(reason)
        self.reason, self.node = reason, node


class ExpertTracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Traces what depends on the tensors it is given. `meta["val"]` of a node has `ROWS` rows and no data."""

    def __init__(self, count: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = count  # of experts
        self.graph = fx.Graph()
        self.weighted: fx.Node | None = None  # the first multiplication by what the run knows to be 1
        self._rows: dict[int, Rows] = {}
        self._weights: dict[int, fx.Node] = {}  # parameters, buffers, and what is made of them alone
        self._alive: list[Tensor] = []  # no id is met twice

    def add_tokens(self, tokens: Tensor) -> None:
        """`ROWS` rows for each expert, in order, are what the nodes depend on."""
        node = self.graph.placeholder("x")
        node.meta.update(name="x", val=tokens[:ROWS].to("meta"))
        self._track(tokens, Rows(dict.fromkeys(range(self.count), node)))

    def add_tensor(self, tensor: Tensor, kind: str, name: str) -> None:
        """A parameter or a buffer, as `kind` says."""
        node = self.graph.placeholder(name.replace(".", "_"))
        node.meta.update({kind: name, "val": torch.empty_like(tensor, device="meta")})
        self._track_weight(tensor, node)

    def results(self, tensor: Tensor) -> list[fx.Node]:
        """The node of each expert's result. Raises UnsupportedExperts where an expert has none."""
        rows = self._rows.get(id(tensor))
        if rows is None or rows.experts != tuple(range(self.count)):
            raise UnsupportedExperts("its result does not depend on its tokens")
        left = next((expert for expert, node in rows.nodes.items() if node is None), None)
        if left is not None:
            raise UnsupportedExperts(f"the result of its expert {left} does not depend on its tokens")
        return rows.computed()

    def _track(self, tensor: Tensor, rows: Rows) -> Tensor:
        self._rows[id(tensor)] = rows
        self._alive.append(tensor)
        return tensor

    def _track_weight(self, tensor: Tensor, node: fx.Node) -> Tensor:
        self._weights[id(tensor)] = node
        self._alive.append(tensor)
        return tensor

    def _rows_of(self, value: object) -> Rows | None:
        return self._rows.get(id(value)) if isinstance(value, Tensor) else None

    def _is_traced(self, value: object) -> bool:
        return id(value) in self._rows or id(value) in self._weights

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing here is compiled

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        leaves = _tensors((*args, *kwargs.values()))
        name = func._schema.name.split("::")[1]
        if name in _SHAPE_ALONE or not any(map(self._is_traced, leaves)):
            made = func(*args, **kwargs)
            return made.zero_() if name in _UNSET else made
        if name in _ASKS:
            raise UnsupportedExperts("what it does depends on the values of its tokens", _locate(func))
        if not any(self._rows_of(leaf) for leaf in leaves):
            return self._record_weights(func, args, kwargs, leaves)
        value = None
        if not kwargs:
            value = self._neutral(func, name.rstrip("_"), args)
            value = self._move(func, name, args) if value is None else value
        value = self._reshape(func, name, args, kwargs) if value is None else value
        return self._record(func, args, kwargs, leaves) if value is None else value

    def _neutral(self, func: Any, name: str, args: Sequence[Any]) -> Tensor | None:
        """The result of an operation that only weights rows with 1, or adds zeros to them."""
        if name not in ("mul", "div", "add", "sub") or len(args) != 2:
            return None
        neutral = 1 if name in ("mul", "div") else 0
        swapped = ((args[1], args[0]),) if name in ("mul", "add") else ()
        for mine, other in ((args[0], args[1]), *swapped):
            rows = self._rows_of(mine)
            if rows and not self._is_traced(other) and _all(other, neutral) and _covers(mine, other):
                if name == "mul" and self.weighted is None:
                    self.weighted = _locate(func)
                if func._schema.is_mutable:
                    return self._track(args[0], rows)
                return self._track(torch.empty(mine.shape, dtype=torch.result_type(mine, other)), rows)
        return None

    def _move(self, func: Any, name: str, args: Sequence[Any]) -> Any:
        """The result of an operation that moves whole blocks; None where it is none."""
        first = args[0]
        if name == "index" and len(args[1]) == 1:
            return self._pick(first, select_blocks(args[1][0]))
        if name == "index_select" and args[1] == 0:
            return self._pick(first, select_blocks(args[2]))
        if name.rstrip("_") in ("index_add", "index_copy") and args[1] == 0:
            return self._put(func, first, args[2], args[3], add="add" in name)
        if name.rstrip("_") == "index_put" and len(args[1]) == 1:
            return self._put(func, first, args[1][0], args[2], add=len(args) > 3 and args[3])
        if name == "slice" and (len(args) < 2 or args[1] == 0) and len(args) < 5:
            start, end, _ = slice(*[*args[2:], None, None][:2]).indices(len(first))
            return self._pick(first, slice_blocks(start, end))
        if name in ("split", "split_with_sizes") and (len(args) < 3 or args[2] == 0):
            return self._split(first, args[1])
        if name == "cat" and (len(args) < 2 or args[1] == 0):
            return self._join(args[0])
        return None

    def _pick(self, tensor: Tensor, blocks: list[int] | None) -> Tensor | None:
        rows = self._rows_of(tensor)
        picked = rows.pick(blocks) if rows is not None and blocks is not None else None
        if picked is None:
            return None
        shape = (len(picked.nodes) * ROWS, *tensor.shape[1:])
        if not picked.computed():
            return torch.zeros(shape, dtype=tensor.dtype)
        return self._track(torch.empty(shape, dtype=tensor.dtype), picked)

    def _put(self, func: Any, into: Tensor, index: object, values: Tensor, add: bool) -> Tensor | None:
        blocks, rows = select_blocks(index), self._rows_of(values)
        if blocks is None:
            return None
        result = into if func._schema.is_mutable else into.detach()
        before = self._rows_of(into) or self._zeros(into, blocks, rows)
        if before is None or (blocks and (rows is None or into.shape[1:] != values.shape[1:])):
            return None
        after = before.replace(blocks, rows, add) if blocks and rows else before
        return None if after is None else self._track(result, after)

    def _zeros(self, into: Tensor, blocks: list[int], values: Rows | None) -> Rows | None:
        """Rows that hold nothing yet: those of all experts, or of the experts that are put there."""
        if values is None or len(into) % ROWS or bool(into.any()):
            return None
        if len(into) == self.count * ROWS:
            return Rows(dict.fromkeys(range(self.count)))
        return Rows(dict.fromkeys(values.nodes)) if blocks == list(range(len(into) // ROWS)) else None

    def _split(self, tensor: Tensor, sizes: int | Sequence[int]) -> list[Tensor] | None:
        if isinstance(sizes, int):
            sizes = [min(sizes, len(tensor) - start) for start in range(0, len(tensor), sizes)]
        parts, start = [], 0
        for size in sizes:
            part = self._pick(tensor, slice_blocks(start, start + size))
            if part is None:
                return None
            parts.append(part)
            start += size
        return parts

    def _join(self, parts: Sequence[Tensor]) -> Tensor | None:
        filled = [part for part in parts if len(part)]
        rows = [self._rows_of(part) for part in filled]
        joined = join_rows(part for part in rows if part is not None)
        if joined is None or not all(rows) or len({(part.shape[1:], part.dtype) for part in filled}) > 1:
            return None
        shape = (sum(map(len, filled)), *filled[0].shape[1:])
        return self._track(torch.empty(shape, dtype=filled[0].dtype), joined)

    def _reshape(self, func: Any, name: str, args: Sequence[Any], kwargs: Any) -> Tensor | None:
        """The result of an operation by which only dims of 1, one for the single choice, come or go."""
        rows = self._rows_of(args[0])
        if name not in _RESHAPES or rows is None:
            return None
        value = func(args[0].to("meta"), *args[1:], **kwargs)
        if not isinstance(value, Tensor) or value.dtype != args[0].dtype:
            return None
        if [s for s in value.shape if s != 1] != [s for s in args[0].shape if s != 1]:
            return None
        return self._track(torch.empty_strided(value.shape, value.stride(), dtype=value.dtype), rows)

    def _record_weights(self, func: Any, args: Any, kwargs: Any, leaves: Sequence[Tensor]) -> Any:
        """A node for what is made of parameters alone: a view of them, or a tensor without memory."""
        if not all(map(self._is_traced, leaves)):
            reason = f"`{func._schema.name}` mixes parameters with what does not depend on tokens"
            raise UnsupportedExperts(reason, _locate(func))
        made = self._value(func, args, kwargs, self._weights)
        node = self._node(func, args, kwargs, made, self._weights, _locate(func))
        if any(known.alias_info is not None for known in func._schema.arguments):
            value = func(*args, **kwargs)
        else:
            value = pytree.tree_map_only(
                Tensor, lambda t: torch.empty((), dtype=t.dtype).expand(t.shape), made
            )
        for tensor, item in zip(_tensors([value]), self._items(node), strict=True):
            self._track_weight(tensor, item)
        return value

    def _record(self, func: Any, args: Any, kwargs: Any, leaves: Sequence[Tensor]) -> Any:
        """A node for every expert whose rows the operands are."""
        name, located = func._schema.name, _locate(func)
        if func is aten._grouped_mm.default and len(args) + len(kwargs) == 3:
            ends = args[2] if len(args) > 2 else kwargs["offs"]
            located.meta["ends"] = ends.tolist()
            leaves = [leaf for leaf in leaves if leaf is not ends]
        if func._schema.is_mutable or not all(map(self._is_traced, leaves)):
            raise UnsupportedExperts(f"`{name}` mixes rows with what depends on the routing", located)
        rows = {id(leaf): found for leaf in leaves if (found := self._rows_of(leaf))}
        experts = next(iter(rows.values())).experts
        if any(found.experts != experts or None in found.nodes.values() for found in rows.values()):
            raise UnsupportedExperts(f"`{name}` mixes the rows of several experts", located)
        for leaf in leaves:
            shape = (ROWS, *leaf.shape[1:])
            if id(leaf) in rows and any(
                node.meta["val"].shape != shape for node in rows[id(leaf)].computed()
            ):
                raise UnsupportedExperts(f"`{name}` acts on rows of another shape than the tokens'", located)
        nodes = [
            ChainMap({key: found.nodes[expert] for key, found in rows.items()}, self._weights)
            for expert in experts
        ]
        made = self._value(func, args, kwargs, nodes[0])
        if any(not part.ndim or len(part) != ROWS for part in _tensors([made])):
            raise UnsupportedExperts(f"`{name}` between the products of an expert is not row-wise", located)
        parts = [self._items(self._node(func, args, kwargs, made, known, located)) for known in nodes]
        values = []
        for place, part in enumerate(_tensors([made])):
            of_experts = Rows({expert: items[place] for expert, items in zip(experts, parts, strict=True)})
            values.append(self._track(blank(part, len(experts)), of_experts))
        return values[0] if isinstance(made, Tensor) else values

    def _value(self, func: Any, args: Any, kwargs: Any, nodes: Mapping[int, fx.Node]) -> Any:
        """What an operation makes of the values of the nodes of its operands."""
        if func is aten._grouped_mm.default:  # of one expert's rows
            rows, weight = (nodes[id(operand)].meta["val"] for operand in args[:2])
            return rows.new_empty(len(rows), weight.shape[-1])
        operands = pytree.tree_map_only(Tensor, lambda t: nodes[id(t)].meta["val"], (args, kwargs))
        made = func(*operands[0], **operands[1])
        if not isinstance(made, (Tensor, list, tuple)):  # a number, read to branch on it
            raise UnsupportedExperts("what it does depends on the values of its tokens", _locate(func))
        return made

    def _node(
        self, func: Any, args: Any, kwargs: Any, value: Any, nodes: Mapping[int, fx.Node], located: fx.Node
    ) -> fx.Node:
        args, kwargs = pytree.tree_map_only(Tensor, lambda t: nodes.get(id(t)), (args, kwargs))
        node = self.graph.call_function(func, args, kwargs)
        node.meta.update(located.meta, val=value)
        return node

    def _items(self, node: fx.Node) -> list[fx.Node]:
        """The node itself, or one for each item of its tuple."""
        value = node.meta["val"]
        if isinstance(value, Tensor):
            return [node]
        items = [self.graph.call_function(operator.getitem, (node, place)) for place in range(len(value))]
        for item, part in zip(items, value, strict=True):
            item.meta["val"] = part
        return items


def _tensors(arguments: Sequence[Any]) -> list[Tensor]:
    """Operators take tensors, and lists of them, and nothing deeper."""
    found: list[Tensor] = []
    for argument in arguments:
        if isinstance(argument, Tensor):
            found.append(argument)
        elif isinstance(argument, (list, tuple)):
            found += [item for item in argument if isinstance(item, Tensor)]
    return found


def _locate(func: Any) -> fx.Node:
    """A node with the lines of the module that are being run."""
    node = fx.Graph().call_function(func)
    node.meta["stack_trace"] = user_frames()
    return node


def _all(value: object, number: float) -> bool:
    if isinstance(value, Tensor):
        return value.numel() > 0 and bool((value == number).all())
    return isinstance(value, (int, float)) and value == number


def _covers(mine: Tensor, other: object) -> bool:
    """Whether the result has the shape of `mine`."""
    return not isinstance(other, Tensor) or torch.broadcast_shapes(mine.shape, other.shape) == mine.shape  # type: ignore[no-untyped-call]
