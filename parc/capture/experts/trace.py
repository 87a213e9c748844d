"""Tracing a module of experts in one run: the routing is computed, the rows are traced.

What depends on the routing alone (loops over experts, masks, sorts) is computed and forgotten. What moves
blocks of rows, adds them to zeros, or weights them with 1 leaves them as they are. All else that rows go
through becomes nodes of a graph: one for each expert whose rows they are. No value of a row is ever
computed; a decision that would read one is refused.
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

from parc.capture.experts.moves import move_blocks, reshape_rows, skip_neutral
from parc.capture.experts.rows import Rows, TraceTable, allocate_blank
from parc.capture.source_lines import format_frames, list_frames

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


class UnsupportedExperts(Exception):
    """The arithmetic of one expert cannot be separated from the routing. `node` has the line, if known."""

    def __init__(self, reason: str, node: fx.Node | None = None) -> None:
        super().__init__(reason)
        self.reason, self.node = reason, node


class ExpertTracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Traces what depends on the tensors it is given. `meta["val"]` of a node has `rows` rows and no data."""

    def __init__(self, experts: int, rows: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = fx.Graph()
        self.weighted: fx.Node | None = None  # the first multiplication by what the run knows to be 1
        self._table = TraceTable(experts, rows)

    def add_tokens(self, tokens: Tensor) -> None:
        """As many rows for each expert, in order, are what the nodes depend on."""
        node = self.graph.placeholder("x")
        node.meta.update(name="x", val=tokens[: self._table.size].to("meta"))
        self._table.add(tokens, Rows(dict.fromkeys(range(self._table.experts), node)))

    def add_tensor(self, tensor: Tensor, kind: str, name: str) -> None:
        """A parameter or a buffer, as `kind` says."""
        node = self.graph.placeholder(name.replace(".", "_"))
        node.meta.update({kind: name, "val": torch.empty_like(tensor, device="meta")})
        self._table.add_weight(tensor, node)

    def find_results(self, tensor: Tensor) -> list[fx.Node]:
        """The node of each expert's result. Raises UnsupportedExperts where an expert has none."""
        rows = self._table.find(tensor)
        if rows is None or rows.experts != tuple(range(self._table.experts)):
            raise UnsupportedExperts("its result does not depend on its tokens")
        left = next((expert for expert, node in rows.nodes.items() if node is None), None)
        if left is not None:
            raise UnsupportedExperts(f"the result of its expert {left} does not depend on its tokens")
        return rows.list_nodes()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing here is compiled

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        leaves = _list_tensors((*args, *kwargs.values()))
        name = func._schema.name.split("::")[1]
        if name in _SHAPE_ALONE or not any(map(self._table.knows, leaves)):
            value = func(*args, **kwargs)
            return value.zero_() if name in _UNSET else value
        if name in _ASKS:
            raise UnsupportedExperts("what it does depends on the values of its tokens", _locate(func))
        if not any(map(self._table.find, leaves)):
            return self._record_weights(func, args, kwargs, leaves)
        value = None if kwargs else skip_neutral(self._table, func, name, args)
        if value is not None and name.startswith("mul"):
            self.weighted = self.weighted or _locate(func)
        if value is None and not kwargs:
            value = move_blocks(self._table, func, name, args)
        if value is None:
            value = reshape_rows(self._table, func, name, args, kwargs)
        return self._record(func, args, kwargs, leaves) if value is None else value

    def _record_weights(self, func: Any, args: Any, kwargs: Any, leaves: Sequence[Tensor]) -> Any:
        """A node for what is made of parameters alone: a view of them, or a tensor without memory."""
        if not all(map(self._table.knows, leaves)):
            reason = f"`{func._schema.name}` mixes parameters with what does not depend on tokens"
            raise UnsupportedExperts(reason, _locate(func))
        made = self._infer_value(func, args, kwargs, self._table.weights)
        node = self._add_node(func, args, kwargs, made, self._table.weights, _locate(func))
        if any(known.alias_info is not None for known in func._schema.arguments):
            value = func(*args, **kwargs)
        else:
            value = pytree.tree_map_only(
                Tensor, lambda t: torch.empty((), dtype=t.dtype).expand(t.shape), made
            )
        for tensor, item in zip(_list_tensors([value]), self._add_items(node), strict=True):
            self._table.add_weight(tensor, item)
        return value

    def _record(self, func: Any, args: Any, kwargs: Any, leaves: Sequence[Tensor]) -> Any:
        """A node for every expert whose rows the operands are."""
        name, located = func._schema.name, _locate(func)
        if func is aten._grouped_mm.default and len(args) + len(kwargs) == 3:
            ends = args[2] if len(args) > 2 else kwargs["offs"]
            located.meta["ends"] = ends.tolist()
            leaves = [leaf for leaf in leaves if leaf is not ends]
        if func._schema.is_mutable or not all(map(self._table.knows, leaves)):
            raise UnsupportedExperts(f"`{name}` mixes rows with what depends on the routing", located)
        rows = {id(leaf): found for leaf in leaves if (found := self._table.find(leaf))}
        experts = next(iter(rows.values())).experts
        if any(found.experts != experts or None in found.nodes.values() for found in rows.values()):
            raise UnsupportedExperts(f"`{name}` mixes the rows of several experts", located)
        for leaf in leaves:
            shape = (self._table.size, *leaf.shape[1:])
            if id(leaf) in rows and any(
                node.meta["val"].shape != shape for node in rows[id(leaf)].list_nodes()
            ):
                raise UnsupportedExperts(f"`{name}` acts on rows of another shape than the tokens'", located)
        nodes = [
            ChainMap({key: found.nodes[expert] for key, found in rows.items()}, self._table.weights)
            for expert in experts
        ]
        made = self._infer_value(func, args, kwargs, nodes[0])
        if any(not part.ndim or len(part) != self._table.size for part in _list_tensors([made])):
            raise UnsupportedExperts(f"`{name}` between the products of an expert is not row-wise", located)
        parts = [self._add_items(self._add_node(func, args, kwargs, made, known, located)) for known in nodes]
        values = []
        for place, part in enumerate(_list_tensors([made])):
            of_experts = Rows({expert: items[place] for expert, items in zip(experts, parts, strict=True)})
            values.append(self._table.add(allocate_blank(part, len(experts)), of_experts))
        return values[0] if isinstance(made, Tensor) else values

    def _infer_value(self, func: Any, args: Any, kwargs: Any, nodes: Mapping[int, fx.Node]) -> Any:
        """What an operation makes of the values of the nodes of its operands."""
        if func is aten._grouped_mm.default:  # of one expert's rows
            rows, weight = (nodes[id(operand)].meta["val"] for operand in args[:2])
            return rows.new_empty(len(rows), weight.shape[-1])
        operands = pytree.tree_map_only(Tensor, lambda t: nodes[id(t)].meta["val"], (args, kwargs))
        made = func(*operands[0], **operands[1])
        if not isinstance(made, (Tensor, list, tuple)):  # a number, read to branch on it
            raise UnsupportedExperts("what it does depends on the values of its tokens", _locate(func))
        return made

    def _add_node(
        self, func: Any, args: Any, kwargs: Any, value: Any, nodes: Mapping[int, fx.Node], located: fx.Node
    ) -> fx.Node:
        args, kwargs = pytree.tree_map_only(Tensor, lambda t: nodes.get(id(t)), (args, kwargs))
        node = self.graph.call_function(func, args, kwargs)
        node.meta.update(located.meta, val=value)
        return node

    def _add_items(self, node: fx.Node) -> list[fx.Node]:
        """The node itself, or one for each item of its tuple."""
        value = node.meta["val"]
        if isinstance(value, Tensor):
            return [node]
        items = [self.graph.call_function(operator.getitem, (node, place)) for place in range(len(value))]
        for item, part in zip(items, value, strict=True):
            item.meta["val"] = part
        return items


def _list_tensors(arguments: Sequence[Any]) -> list[Tensor]:
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
    node.meta["stack_trace"] = format_frames(list_frames())
    return node
