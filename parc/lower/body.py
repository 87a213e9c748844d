"""Rewriting: a placed body becomes the events of one rank."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from torch import Tensor, fx

from parc.capture.custom_ops import CALL, EXPERTS
from parc.capture.graph import get_item_source, is_item, list_operands
from parc.ir.collectives import choose_verb
from parc.ir.expression import Expression, name, placeholder, substitute
from parc.ir.program import Call, Collective, Compute, Event, Operand, Value
from parc.ir.runtime_names import TOKEN_COUNTS
from parc.ir.states import State
from parc.lower.batch_sizes import BatchSizes, find_sizes
from parc.lower.draft import Drafter
from parc.lower.local_values import Shares
from parc.lower.names.local_names import Key, Scope
from parc.lower.names.source_names import Statements
from parc.lower.names.value_names import name_objective, name_unnamed
from parc.lower.zeros import is_zero
from parc.plan.mesh import identify_group
from parc.shard.placed import Move, Placed


class Writer:
    """Writes the nodes of one body, in order, into `events`. Values that come from elsewhere are bound first.

    Values in `kept` get a variable even where they could stand in the expression that reads them.
    """

    def __init__(
        self,
        placed: Placed,
        units: dict[int, str],
        nodes: Sequence[fx.Node],
        device: ast.expr,
        kept: Collection[fx.Node] = (),
    ) -> None:
        self.placed, self.units, self.nodes = placed, units, nodes
        self.events: list[Event] = []
        self.groups: set[str] = set()
        self._statements = Statements(placed.body.operations())
        self._statements.hints = name_objective(placed.body) | self._statements.hints
        layout = placed.layout
        self._shares = Shares(placed)
        reserved = {*map(identify_group, layout.axes), TOKEN_COUNTS}  # attributes of the emitted module
        self.numbers = {key: number for key, number in placed.body.numbers.items() if key not in reserved}
        self._sizes = BatchSizes(layout)
        self._drafter = Drafter(
            placed, self._shares, self._statements, device, self.numbers, kept, self._sizes
        )
        self._draft = self._drafter.draft(nodes)
        self.scope = Scope(placed, self._draft.order, self._draft.last_read)
        self._received: dict[fx.Node, Value] = {}
        self.bound_by = ""  # the reason why the events hold for one batch alone
        self._size_trees: dict[str, ast.expr] = {}

    def bind(self, node: fx.Node, variable: str) -> None:
        """A value that is there from the start: an input."""
        self.scope.stand_for(node, name(variable))
        states = self._shares.key_by_axis(self.placed.get_fact(node).states)
        self._sizes.add_input(variable, find_sizes(node), states)

    def refer(self, node: fx.Node, tree: ast.expr) -> None:
        """A parameter or buffer."""
        self.scope.stand_for(node, tree)

    def receive(self, node: fx.Node, given: Value) -> None:
        """A value from the stage before, as it was given: perhaps settled there."""
        self.scope.stand_for(node, name(given.name))
        self._received[node] = given
        self._sizes.add_input(given.name, find_sizes(node), given.states)

    def write(self) -> None:
        """The events of all nodes."""
        trees = [printed.tree for printed in self._draft.printed.values()]
        events, self._size_trees = self._sizes.resolve(trees, self.scope.reserve)
        self.events += events
        self.groups |= self._sizes.groups
        if self._sizes.unknown:
            self.bound_by = f"no input has the size {self._sizes.unknown[0]}"
        for node in self.nodes:
            if node.target in (CALL, EXPERTS):
                self._write_call(node)
            elif not is_item(node):
                self._write_compute(node)

    def read_result(self, node: fx.Node) -> Operand:
        """A value as it is read once all is written."""
        held = self._find_value(node)
        return Operand(Expression(self.scope.get_tree(node)), held.shape, held.dtype, held.states)

    def read_variable(self, node: fx.Node) -> Value:
        """A value that has a variable, as it is once all is written."""
        tree = self.scope.get_tree(node)
        assert isinstance(tree, ast.Name), ast.dump(tree)
        return replace(self._find_value(node), name=tree.id)

    def _find_value(self, node: fx.Node) -> Value:
        if node in self._received and not self.scope.has_settled(node):
            return self._received[node]
        held = (
            self._shares.describe_settled if self.scope.has_settled(node) else self._shares.describe_as_made
        )
        return held(node, "")

    def _write_call(self, node: fx.Node) -> None:
        operands = tuple(self._read_operand(node, place) for place in range(len(list_operands(node))))
        if node.target is CALL:
            member = str(node.args[1])
            unit = self.units[id(self.placed.children[member])]
        else:
            dealt = self.placed.experts[node]
            member = dealt.path
            if any(blocks > 1 for _, blocks in dealt.shards):
                self.bound_by = "experts count tokens in one block for each sequence"
            unit = self.units[id(dealt)]
        results = _list_results(node)
        temporary = len(results) == 1 and self._drafter.is_read_once(results[0])
        self.events.append(Call(self._bind_results(node, results), member, operands, unit, temporary))

    def _write_compute(self, node: fx.Node) -> None:
        printed = self._draft.printed[node]
        places = range(len(list_operands(node)))
        operands = [self._read_operand(node, place).expression.tree for place in places]
        self.groups |= set(printed.axes)
        known = {placeholder(place).id: operands[place] for place in places}
        tree = substitute(printed.tree, known | self._size_trees)
        if node in self._draft.joined:
            product, bias = operands
            assert isinstance(product, ast.Call)
            tree = ast.Call(product.func, [*product.args, bias], product.keywords)
        if node in self._draft.in_place:
            self.scope.stand_for(node, tree)
            return
        results = _list_results(node)
        temporary = len(results) == 1 and self._drafter.is_read_once(node)
        self.events.append(
            Compute(self._bind_results(node, results), Expression(tree), printed.inside, temporary)
        )

    def _bind_results(self, node: fx.Node, results: Sequence[fx.Node]) -> tuple[Value, ...]:
        """Variables for what a node yields; what nobody reads has none."""
        found = []
        for result in results:
            if isinstance(result.meta["val"], Tensor):
                wish = self._statements.hints.get(result) or name_unnamed(self.placed, node, result)
                variable = self.scope.bind(result, wish, self._draft.order[node])
                found.append(self._shares.describe_as_made(result, variable))
            else:
                found.append(Value("_", (), ""))
        return tuple(found)

    def _read_operand(self, node: fx.Node, place: int) -> Operand:
        """An operand once it is moved; each distinct move of a value is made once."""
        operand = list_operands(node)[place]
        moves = [move for move in self.placed.moves[node][place] if move.has_effect]
        steps = self._shares.list_states(node, place)
        tree = self.scope.get_tree(operand)
        if node.target not in (CALL, EXPERTS) and all(move.after.partial for move in moves):
            moves = [] if is_zero(self.placed, operand) else moves
        settled = sum(move.settles for move in moves)  # come first: what they yield stands for the value
        for count in range(1, len(moves) + 1):
            start = settled if count > settled else 0
            key = tuple((move.axis, move.after) for move in moves[start:count])
            known = self.scope.find_moved(operand, key)
            if known is None:
                at = (node, place)
                known = self._write_move(
                    operand, tree, moves[count - 1], key, steps[count - 1 : count + 1], at
                )
            tree = known
        return self._build_operand(operand, tree, steps[-1])

    def _write_move(
        self,
        operand: fx.Node,
        tree: ast.expr,
        move: Move,
        key: Key,
        states: Sequence[Mapping[str, State]],
        at: tuple[fx.Node, int],
    ) -> ast.expr:
        """A value after a move, whose `states` are those before and after it."""
        before, after = states
        variable = self.scope.bind_moved(operand, tree, move, key, at)
        src, dst = self._shares.find_conversion(move, before)
        result = self._shares.describe_in(operand, after, variable)
        verb, read = choose_verb(src, dst), self._build_operand(operand, tree, before)
        if any(self._counts_sequences(operand, state, move.axis) for state in (src, dst)):
            self.bound_by = f"{verb} reads tokens in one block for each sequence"
        self.events.append(Collective(result, read, verb, src, dst, move.axis, move.grad))
        self.groups.add(move.axis)
        return name(variable)

    def _counts_sequences(self, operand: fx.Node, state: State, axis: str) -> bool:
        """Whether the number of blocks of a shard is that of the sequences, or may be where both are one."""
        if not state.sharded or not find_sizes(operand)[state.dim].batch:
            return False
        layout = self.placed.layout
        return state.blocks > 1 or (layout.sequence and axis == layout.tensor)

    def _build_operand(self, operand: fx.Node, tree: ast.expr, states: Mapping[str, State]) -> Operand:
        held = self._shares.describe_in(operand, states, "")
        return Operand(Expression(tree), held.shape, held.dtype, held.states)


def _list_results(node: fx.Node) -> list[fx.Node]:
    """The values that a node yields: itself, or its items in order; the node for one that nobody reads."""
    if isinstance(node.meta["val"], Tensor):
        return [node]
    items = {get_item_source(user)[1]: user for user in node.users if is_item(user)}
    return [items.get(place, node) for place in range(len(node.meta["val"]))]
