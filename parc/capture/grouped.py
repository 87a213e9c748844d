"""One expert's arithmetic, lifted to all experts at once: rows sorted by expert, stacked parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from parc.capture.expert_bank import Bank
from parc.capture.fold_routing import Unfoldable
from parc.capture.graph import argument, name_of

aten, parc = torch.ops.aten, torch.ops.parc
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


def grouped(graph: fx.Graph, bank: Bank, expert: int) -> fx.Graph:
    """A graph with one input `x` and a placeholder a stacked parameter (`meta["tensor"]`: its name).

    Raises Unfoldable for what is not made of products with an expert's weights and row-wise arithmetic.
    """
    return _Lift(graph, bank, expert).run()


class _Lift:
    def __init__(self, old: fx.Graph, bank: Bank, expert: int) -> None:
        self.old, self.bank, self.expert = old, bank, expert
        self.graph = fx.Graph()
        self.now: dict[fx.Node, fx.Node] = {}
        self.stacked: dict[str, fx.Node] = {}
        self.turned: set[fx.Node] = set()  # expert's weights that are read transposed

    def run(self) -> fx.Graph:
        self._parameters()
        for node in self.old.nodes:
            if node.op == "call_function":
                self.now[node] = self._lifted(node)
            elif node.op == "output":
                (result,) = node.args[0]
                self.graph.output((self.now[result],))
        return self.graph

    def _parameters(self) -> None:
        rows = []
        for node in self.old.nodes:
            if node.op != "placeholder":
                continue
            if "buffer" in node.meta and node.users:
                reader = next(iter(node.users))
                raise Unfoldable(f"it reads its buffer `{node.meta['buffer']}`", reader)
            if "parameter" not in node.meta:
                rows += [node] if "name" in node.meta else []
                continue
            number, name = self.bank.expert_of(node.meta["parameter"])
            if not node.users:
                continue
            if number is not None and number != self.expert:
                raise Unfoldable(f"expert {self.expert} reads a parameter of expert {number}", None)
            new = self.graph.placeholder(name.replace(".", "_"))
            real = node.meta["val"]
            of = real.shape if number is None else (self.bank.count, *real.shape)
            new.meta.update(
                {"tensor": name, "buffer": False, "val": torch.empty(of, dtype=real.dtype, device="meta")}
            )
            self.stacked[name] = new
            if number is not None:
                self.now[node] = new
        (x,) = rows
        new = self.graph.placeholder("x")
        new.meta.update({"name": "x", "val": x.meta["val"].to("meta")})
        self.now[x] = new

    def _lifted(self, node: fx.Node) -> fx.Node:
        name = name_of(node).removeprefix("aten::")
        first = node.args[0]
        if name == "select" and isinstance(first, fx.Node) and "parameter" in first.meta:
            if node.args[1:] != (0, self.expert):
                raise Unfoldable(
                    f"it reads expert {node.args[2]}'s weights for a token of expert {self.expert}", node
                )
            return self.stacked[first.meta["parameter"]]
        if name == "unbind" and isinstance(first, fx.Node) and "parameter" in first.meta:
            return self.stacked[first.meta["parameter"]]  # its items are the experts' own
        if (
            name == "getitem"
            and isinstance(first, fx.Node)
            and name_of(first) == "aten::unbind"
            and self._is_weight(first)
        ):
            if node.args[1] != self.expert:
                raise Unfoldable(
                    f"it reads expert {node.args[1]}'s weights for a token of expert {self.expert}", node
                )
            return self.now[first]
        if name in ("t", "transpose") and self._is_weight(first):
            assert isinstance(first, fx.Node)
            self.turned.add(node)
            return self.now[first]
        if name == "transpose" and isinstance(first, fx.Node) and self._turns_every_weight(node, first):
            self.turned.add(node)
            return self.stacked[first.meta["parameter"]]
        if name in ("linear", "mm", "matmul", "addmm", "_grouped_mm"):
            return self._product(node, name)
        weights = [a for a in node.args if self._is_weight(a)]
        if weights:
            return self._with_vector(node, name)
        if name in _RESHAPES:
            raise Unfoldable(f"`{name}` between the products of an expert is not row-wise", node)
        return self._copied(node)

    def _is_weight(self, argument: Any) -> bool:
        return (
            isinstance(argument, fx.Node)
            and argument in self.now
            and self.now[argument] in self.stacked.values()
        )

    def _turns_every_weight(self, node: fx.Node, of: fx.Node) -> bool:
        dims = {argument(node, "dim0") % 3, argument(node, "dim1") % 3}
        return of.meta.get("parameter") in self.stacked and of.meta["val"].ndim == 3 and dims == {1, 2}

    def _product(self, node: fx.Node, name: str) -> fx.Node:
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
            raise Unfoldable(f"`{name}` is not a product of rows with an expert's weight", node)
        assert isinstance(rows, fx.Node)
        assert isinstance(weight, fx.Node)
        by_row = (name == "linear") != (weight in self.turned)
        target = parc.grouped_linear.default if by_row else parc.grouped_matmul.default
        product = self._call(target, (self.now[rows], self.now[weight]), node)
        if bias is None:
            return product
        assert isinstance(bias, fx.Node)
        return self._call(parc.grouped_add.default, (product, self.now[bias]), node)

    def _check_ends(self, node: fx.Node) -> None:
        """All rows must be this expert's: `ends` says after which row each expert's end."""
        rows, ends = node.meta["val"].shape[0], node.meta.get("ends")
        if ends is None or ends.tolist() != [
            rows * (number >= self.expert) for number in range(self.bank.count)
        ]:
            raise Unfoldable(f"it reads other experts' weights for a token of expert {self.expert}", node)

    def _with_vector(self, node: fx.Node, name: str) -> fx.Node:
        rows, vector = node.args[:2]
        if self._is_weight(rows):
            rows, vector = vector, rows
        assert isinstance(rows, fx.Node)
        assert isinstance(vector, fx.Node)
        plain = name in ("add", "mul") and len(node.args) == 2 and not node.kwargs
        if not plain or self.now[vector].meta["val"].ndim != 2:
            raise Unfoldable(f"`{name}` with an expert's parameter has no rule", node)
        target = parc.grouped_add.default if name == "add" else parc.grouped_mul.default
        return self._call(target, (self.now[rows], self.now[vector]), node)

    def _copied(self, node: fx.Node) -> fx.Node:
        if any(operand not in self.now for operand in node.all_input_nodes):
            raise Unfoldable(f"`{name_of(node)}` reads the weights of all experts", node)
        if any(read not in self.now for read in node.all_input_nodes):
            raise Unfoldable(f"`{name_of(node)}` reads the weights of all experts", node)
        args, kwargs = fx.map_arg((node.args, node.kwargs), self.now.__getitem__)
        return self._call(node.target, args, node, kwargs)

    def _call(self, target: Any, args: Any, of: fx.Node, kwargs: Any = None) -> fx.Node:
        new = self.graph.call_function(target, args, kwargs)
        new.meta["stack_trace"] = of.meta.get("stack_trace")
        new.meta["val"] = torch.utils._pytree.tree_map_only(Tensor, lambda t: t.to("meta"), _result(of))
        return new


def _result(node: fx.Node) -> Any:
    return node.meta["val"]


__all__ = ["grouped"]
