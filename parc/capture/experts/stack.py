"""One expert's arithmetic, lifted to all experts at once: rows sorted by expert, stacked parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from parc.capture.custom_ops import GROUPED_ADD, GROUPED_LINEAR, GROUPED_MATMUL, GROUPED_MUL
from parc.capture.experts.bank import Bank
from parc.capture.experts.rows import ROWS
from parc.capture.experts.trace import UnsupportedExperts
from parc.capture.graph import find_sources, get_argument, get_name

_RESHAPES = (
    "view",
    "reshape",
    "flatten",
    "permute",
    "transpose",
    "t",
    "sum",
    "mean",
    "index",
    "select",
    "squeeze",
    "unsqueeze",
)


def stack_experts(result: fx.Node, bank: Bank, expert: int) -> fx.Graph:
    """A graph with one input `x` and a placeholder a stacked parameter (`meta["tensor"]`: its name).

    `result` is what one expert computes, in the graph of a tracer. Raises UnsupportedExperts for what is not
    made of products with the expert's own weights and row-wise arithmetic.
    """
    return _Lift(result, bank, expert).run()


class _Lift:
    def __init__(self, result: fx.Node, bank: Bank, expert: int) -> None:
        self.result, self.bank, self.expert = result, bank, expert
        self.graph = fx.Graph()
        self.now: dict[fx.Node, fx.Node] = {}
        self.stacked: dict[str, fx.Node] = {}
        self.turned: set[fx.Node] = set()  # expert's weights that are read transposed

    def run(self) -> fx.Graph:
        needed = sorted(find_sources(self.result))
        self._add_inputs([node for node in needed if node.op == "placeholder"], needed)
        for node in needed:
            if node.op == "call_function":
                self.now[node] = self._lift(node)
        self.graph.output((self.now[self.result],))
        return self.graph

    def _add_inputs(self, placeholders: Sequence[fx.Node], needed: Sequence[fx.Node]) -> None:
        for node in placeholders:
            if "buffer" in node.meta:
                reader = next(reader for reader in needed if node in reader.all_input_nodes)
                raise UnsupportedExperts(f"it reads its buffer `{node.meta['buffer']}`", reader)
            if "parameter" in node.meta:
                self._add_parameter(node)
        for node in placeholders:
            if "name" in node.meta:
                new = self.now[node] = self.graph.placeholder("x")
                new.meta.update({"name": "x", "val": node.meta["val"]})

    def _add_parameter(self, node: fx.Node) -> None:
        number, name = self.bank.locate_expert(node.meta["parameter"])
        if number is not None and number != self.expert:
            raise UnsupportedExperts(f"expert {self.expert} reads a parameter of expert {number}")
        new = self.stacked[name] = self.graph.placeholder(name.replace(".", "_"))
        one = node.meta["val"]
        shape = one.shape if number is None else (self.bank.count, *one.shape)
        new.meta.update(tensor=name, buffer=False, val=torch.empty(shape, dtype=one.dtype, device="meta"))
        if number is not None:
            self.now[node] = new

    def _lift(self, node: fx.Node) -> fx.Node:
        name = get_name(node).removeprefix("aten::")
        first = node.args[0]
        if isinstance(first, fx.Node):
            if "parameter" in first.meta and name == "select":
                self._check_own(node, node.args[1:] == (0, self.expert), node.args[2])
                return self.stacked[first.meta["parameter"]]
            if "parameter" in first.meta and name == "unbind":
                return self.stacked[first.meta["parameter"]]  # its items are the experts' own
            if name == "getitem" and get_name(first) == "aten::unbind" and self._is_weight(first):
                self._check_own(node, bool(node.args[1] == self.expert), node.args[1])
                return self.now[first]
            if _swaps_two_dims(node, name) and self._is_weight(first):
                self.turned.add(node)
                return self.now[first]
            if name == "transpose" and self._turns_every_weight(node, first):
                self.turned.add(node)
                return self.stacked[first.meta["parameter"]]
        if name in ("linear", "mm", "matmul", "addmm", "_grouped_mm"):
            return self._lift_product(node, name)
        if any(self._is_weight(argument) for argument in node.args):
            return self._lift_vector(node, name)
        if name in _RESHAPES:
            raise UnsupportedExperts(f"`{name}` between the products of an expert is not row-wise", node)
        return self._copy(node)

    def _check_own(self, node: fx.Node, own: bool, other: object) -> None:
        if not own:
            raise UnsupportedExperts(
                f"it reads expert {other}'s weights for a token of expert {self.expert}", node
            )

    def _is_weight(self, argument: Any) -> bool:
        return (
            isinstance(argument, fx.Node)
            and argument in self.now
            and self.now[argument] in self.stacked.values()
        )

    def _turns_every_weight(self, node: fx.Node, of: fx.Node) -> bool:
        dims = {get_argument(node, "dim0") % 3, get_argument(node, "dim1") % 3}
        return of.meta.get("parameter") in self.stacked and of.meta["val"].ndim == 3 and dims == {1, 2}

    def _lift_product(self, node: fx.Node, name: str) -> fx.Node:
        args = list(node.args)
        bias = None
        if name == "addmm":
            bias, args = args[0], args[1:]
        elif name == "linear" and len(args) > 2:
            bias = args.pop()
        rows, weight = args[:2]
        if name == "_grouped_mm":
            assert isinstance(weight, fx.Node)
            self._check_ends(node)
            if "parameter" in weight.meta:
                self.now[weight] = self.stacked[weight.meta["parameter"]]
        if self._is_weight(rows) or not self._is_weight(weight):
            raise UnsupportedExperts(f"`{name}` is not a product of rows with an expert's weight", node)
        assert isinstance(rows, fx.Node)
        assert isinstance(weight, fx.Node)
        by_row = (name == "linear") != (weight in self.turned)
        target = GROUPED_LINEAR if by_row else GROUPED_MATMUL
        product = self._add_call(target, (self.now[rows], self.now[weight]), node)
        if bias is None:
            return product
        assert isinstance(bias, fx.Node)
        return self._add_call(GROUPED_ADD, (product, self.now[bias]), node)

    def _check_ends(self, node: fx.Node) -> None:
        """All rows must be this expert's: `ends` says after which row each expert's end."""
        if node.meta.get("ends") != [ROWS * (number + 1) for number in range(self.bank.count)]:
            raise UnsupportedExperts(
                f"it reads other experts' weights for a token of expert {self.expert}", node
            )

    def _lift_vector(self, node: fx.Node, name: str) -> fx.Node:
        rows: Any
        vector: Any
        rows, vector = node.args[:2]
        if self._is_weight(rows):
            rows, vector = vector, rows
        plain = name in ("add", "mul") and len(node.args) == 2 and not node.kwargs
        known = isinstance(rows, fx.Node) and isinstance(vector, fx.Node)
        if not plain or not known or self.now[vector].meta["val"].ndim != 2:
            raise UnsupportedExperts(f"`{name}` with an expert's parameter has no rule", node)
        target = GROUPED_ADD if name == "add" else GROUPED_MUL
        return self._add_call(target, (self.now[rows], self.now[vector]), node)

    def _copy(self, node: fx.Node) -> fx.Node:
        if any(operand not in self.now for operand in node.all_input_nodes):
            raise UnsupportedExperts(f"`{get_name(node)}` reads the weights of all experts", node)
        args, kwargs = fx.map_arg((node.args, node.kwargs), self.now.__getitem__)
        return self._add_call(node.target, args, node, kwargs)

    def _add_call(self, target: Any, args: Any, of: fx.Node, kwargs: Any = None) -> fx.Node:
        new = self.graph.call_function(target, args, kwargs)
        new.meta["stack_trace"] = of.meta.get("stack_trace")
        new.meta["val"] = of.meta["val"]
        return new


def _swaps_two_dims(node: fx.Node, name: str) -> bool:
    """Whether an operation transposes a matrix."""
    return name in ("t", "transpose", "mT") or (name == "permute" and list(node.args[1]) == [1, 0])  # type: ignore[arg-type]
