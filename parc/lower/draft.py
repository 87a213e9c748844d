"""How each value of a body is computed, before any has a name: by which expression, and where."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor, fx

from parc.capture.custom_ops import CALL, EXPERTS
from parc.capture.graph import (
    get_name,
    get_shape,
    get_tensor_name,
    get_user_name,
    is_item,
    is_module_tensor,
    list_operands,
)
from parc.ir.expression import placeholder
from parc.lower.batch_sizes import BatchSizes
from parc.lower.local_values import Shares
from parc.lower.names.local_names import find_last_reads
from parc.lower.names.source_names import Statements
from parc.lower.printing.operation import Operation, with_operands
from parc.lower.printing.sharded_operators import Printed, print_local
from parc.shard.placed import Placed
from parc.shard.rules import is_pointwise

LONGEST = 80  # characters of an expression that is written inside of another
LONGEST_CHAIN = 110  # of one whose method is called

_TYPES = re.compile(r"(, dtype=|\.to\()torch\.\w+\)?")
"""What depends on the precision of a plan. Two precisions have the same statements."""

_PRODUCTS = {
    "aten::add": (("aten::linear",), 1),
    "parc::grouped_add": (("parc::grouped_linear", "parc::grouped_matmul"), 2),
}
"""By the operator that adds a bias: the products that can take it, and the dims of the bias."""


@dataclass(frozen=True)
class Draft:
    """The decisions about the nodes of one forward pass."""

    printed: Mapping[fx.Node, Printed]  # a placeholder stands for each operand, see `placeholder`
    in_place: Collection[fx.Node]  # values that are computed where they are read
    joined: Collection[fx.Node]  # biases that the product before them takes
    order: Mapping[fx.Node, int]
    last_read: Mapping[fx.Node, int]


class Drafter:
    """Decides about the nodes of a forward pass; those in `kept` get a name of their own."""

    def __init__(
        self,
        placed: Placed,
        shares: Shares,
        statements: Statements,
        device: ast.expr,
        numbers: Mapping[str, int | float],
        kept: Collection[fx.Node],
        sizes: BatchSizes,
    ) -> None:
        self.placed, self.shares, self.statements, self.kept = placed, shares, statements, kept
        self.device, self.numbers, self.sizes = device, numbers, sizes
        self.order: dict[fx.Node, int] = {}
        self.printed: dict[fx.Node, Printed] = {}
        self.lengths: dict[fx.Node, int] = {}  # of the expressions that are computed in place
        self.aliases: set[fx.Node] = set()
        self.joined: set[fx.Node] = set()

    def draft(self, nodes: Sequence[fx.Node]) -> Draft:
        self.order = {node: place for place, node in enumerate(nodes)}
        self.order |= {user: self.order[node] for node in nodes for user in node.users if is_item(user)}
        self.joined = {node for node in nodes if self._joins_bias(node)}
        plain = [node for node in nodes if node.target not in (CALL, EXPERTS) and not is_item(node)]
        self.printed = {node: self._print(node) for node in plain}
        for node in plain:
            self._decide(node)
        in_place = self.aliases | self.lengths.keys()
        values = [*self.placed.body.graph.nodes]
        return Draft(
            self.printed, in_place, self.joined, self.order, find_last_reads(values, self.order, in_place)
        )

    def is_read_once(self, node: fx.Node) -> bool:
        """Whether one place alone reads a value, in the user's own statement and unmoved."""
        if node in self.kept or node in self.statements.hints or len(node.users) != 1:
            return False
        (user,) = node.users
        if user.op == "output":
            return True
        places = [place for place, operand in enumerate(list_operands(user)) if operand is node]
        if user not in self.order or len(places) != 1 or self._is_moved(user, places[0]):
            return False
        return self.statements.is_same_statement(node, user)

    def _print(self, node: fx.Node) -> Printed:
        operands = list_operands(node)
        places = iter(range(len(operands)))
        alone = self.placed.layout.data if node in self.placed.of_ranks else ()
        express = partial(self.sizes.express, alone=alone if is_pointwise(node) else ())
        args, kwargs = with_operands(node, lambda _: placeholder(next(places)), express)
        states = self.placed.wanted[node]
        by_axis = (self.shares.key_by_axis(each).items() for each in states)
        operation = Operation(
            node,
            args,
            kwargs,
            list(map(self.shares.divide, operands, states)),
            self.shares.divide_results(node),
            self.sizes,
            self.device,
            self.statements.find_numbers(node, self.numbers),
        )
        return print_local(
            operation, [{axis: at for axis, at in each if axis not in alone} for each in by_axis]
        )

    def _decide(self, node: fx.Node) -> None:
        tree, operands = self.printed[node].tree, list_operands(node)
        inside = [operand for operand in operands if operand in self.lengths]
        if isinstance(tree, ast.Name) and not inside:
            self.aliases.add(node)
            self._pass_hint_on(node, operands[0])
            return
        if self.printed[node].inside or not isinstance(node.meta["val"], Tensor):
            return
        length = len(_TYPES.sub("", ast.unparse(tree))) + sum(map(self._measure, operands))
        longest = LONGEST_CHAIN if self._is_called_on(node) else LONGEST
        returned = [node] == self.placed.body.results() and not self.placed.body.is_expert
        written = returned or self._is_joined_product(node)
        if self.is_read_once(node) and (written or length < longest):
            self.lengths[node] = length

    def _measure(self, operand: fx.Node) -> int:
        """The length of an operand's expression; a variable has no name yet, and counts for nothing."""
        if is_module_tensor(operand):
            return len(get_user_name(get_tensor_name(operand)))
        return self.lengths.get(operand, 0)

    def _pass_hint_on(self, alias: fx.Node, of: fx.Node) -> None:
        """A value that only its alias reads has the alias' name, if the user gave it no other."""
        hints = self.statements.hints
        if alias in hints and len(of.users) == 1:
            hints.setdefault(of, hints[alias])

    def _joins_bias(self, node: fx.Node) -> bool:
        """Whether a node adds the bias of a product, from which capture has parted it."""
        operands = list_operands(node)
        if get_name(node) not in _PRODUCTS or node.kwargs or len(operands) != 2:
            return False
        product, bias = operands
        products, dims = _PRODUCTS[get_name(node)]
        is_bias = bias.op == "placeholder" and len(get_shape(bias)) == dims
        return is_bias and get_name(product) in products and self.is_read_once(product)

    def _is_called_on(self, node: fx.Node) -> bool:
        """Whether a method of the value is called, as the next one in a chain."""
        return any(
            _is_method_of(self.printed[user].tree, placeholder(list_operands(user).index(node)))
            for user in node.users
            if user in self.printed
        )

    def _is_joined_product(self, node: fx.Node) -> bool:
        return any(user in self.joined and list_operands(user)[0] is node for user in node.users)

    def _is_moved(self, user: fx.Node, place: int) -> bool:
        moves = self.placed.moves.get(user, ())
        return bool(moves) and any(move.has_effect for move in moves[place])


def _is_method_of(tree: ast.expr, owner: ast.Name) -> bool:
    match tree:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=identifier))):
            return identifier == owner.id
    return False
