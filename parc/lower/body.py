"""Rewriting: a placed body becomes the events of one rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, fx

from parc.capture.custom_ops import CALL, EXPERTS
from parc.capture.graph import is_item, item_of, name_of, operands_of, shape
from parc.ir.collectives import verb_between
from parc.ir.program import Call, Collective, Compute, Event, Value
from parc.lower.expression import Text, Written
from parc.lower.local_names import Scope
from parc.lower.local_values import Shares
from parc.lower.op_printers import with_texts, write
from parc.lower.sharded_op_printers import parallel_text
from parc.lower.source_names import Statements
from parc.shard.placed import Layout, Move, Placed, issues

LONGEST = 66  # characters of an inlined expression


class Writer:
    """Writes nodes of one body, in order, into `events`. Values that come from elsewhere are bound first."""

    def __init__(
        self, placed: Placed, layout: Layout, units: dict[int, str], nodes: Sequence[fx.Node]
    ) -> None:
        self.placed, self.layout, self.units = placed, layout, units
        self.events: list[Event] = []
        self.statements = Statements(placed.body)
        self.scope = Scope(nodes, placed, self.statements)
        self.groups: set[str] = set()
        self.device = "self.device"
        self._shares = Shares(placed, layout)
        self._received: dict[fx.Node, Value] = {}

    def bind(self, node: fx.Node, name: str) -> None:
        """A value that is there from the start: an input."""
        self.scope.bind(node, name)

    def receive(self, node: fx.Node, given: Value) -> None:
        """A value from the stage before, as it was given: perhaps settled there."""
        self.scope.bind(node, given.name)
        self._received[node] = given

    def refer(self, node: fx.Node, text: str) -> None:
        """A parameter or buffer."""
        self.scope.refer(node, text)

    def write(self, nodes: Sequence[fx.Node]) -> None:
        """The events of some nodes, behind those written before."""
        for node in nodes:
            if node.target in (CALL, EXPERTS):
                self._call(node)
            elif not is_item(node):
                self._compute(node)

    def result(self, node: fx.Node) -> str:
        """The text of a value once all is written."""
        return self.scope.text(node).text

    def given(self, node: fx.Node) -> Value:
        """A value as it is once all is written."""
        if node in self._received and not self.scope.has_settled(node):
            return replace(self._received[node], name=self.result(node))
        held = self._shares.now if self.scope.has_settled(node) else self._shares.made
        return held(node, self.result(node))

    def _call(self, node: fx.Node) -> None:
        operands = operands_of(node)
        texts = tuple(self._operand(node, place, operand).text for place, operand in enumerate(operands))
        if node.target is CALL:
            member = str(node.args[1])
            unit = self.units[id(self.placed.children[member])]
        else:
            member = self.placed.experts[node].path
            unit = self.units[id(self.placed.experts[node])]
        results = self._results(node)
        values = tuple(
            self._shares.made(result, self._name(result, member.split(".")[-1])) for result in results
        )
        self.events.append(Call(values, member, texts, unit))

    def _compute(self, node: fx.Node) -> None:
        operands = operands_of(node)
        texts = [self._operand(node, place, operand) for place, operand in enumerate(operands)]
        left = iter(texts)
        args, kwargs = with_texts(node, lambda _: next(left))
        wanted = self.placed.wanted[node]
        before = [self._shares.local(o, states) for o, states in zip(operands, wanted, strict=True)]
        written = Written(node, args, kwargs, before, self._shares.of_results(node), self.device)
        special = parallel_text(written, [shape(o) for o in operands], [*map(self._shares.by_axis, wanted)])
        text = special.text if special else _with_bias(node, texts) or write(written)
        inside = special.inside if special else ()
        self.groups |= set(special.axes) if special else set()
        if self._inlines(node, text, inside):
            self.scope.inline(node, text)
            return
        results = self._results(node)
        values = tuple(self._shares.made(result, self._name(result, _base(node))) for result in results)
        self.events.append(Compute(values, text.text, inside))

    def _inlines(self, node: fx.Node, text: Text, inside: Sequence[Collective]) -> bool:
        """Whether a value is written where it is used: once, unmoved, in the same statement of the user's."""
        if inside or len(node.users) != 1 or not isinstance(node.meta["val"], Tensor):
            return False
        (user,) = node.users
        if user not in self.scope.order or user.target in (CALL, EXPERTS):
            return False
        places = [place for place, operand in enumerate(operands_of(user)) if operand is node]
        moves = self.placed.moves.get(user)
        if len(places) != 1 or (moves and moves[places[0]]):
            return False
        return self.statements.together(node, user) and len(text.text) < LONGEST

    def _results(self, node: fx.Node) -> list[fx.Node]:
        """The values that a node yields: itself, or its items in order."""
        if isinstance(node.meta["val"], Tensor):
            return [node]
        items = {item_of(user)[1]: user for user in node.users if is_item(user)}
        return [items.get(place, node) for place in range(len(node.meta["val"]))]

    def _name(self, node: fx.Node, base: str) -> str:
        if not isinstance(node.meta["val"], Tensor):
            return "_"
        return self.scope.name(node, self.statements.hints.get(node, base))

    def _operand(self, node: fx.Node, place: int, operand: fx.Node) -> Text:
        """The text of an operand once it is moved; each distinct move of a value is made once."""
        moves = [move for move in self.placed.moves[node][place] if issues(move)]
        text = self.scope.text(operand)
        for step in range(len(moves)):
            text = self._moved(operand, moves[: step + 1], text)
        return text

    def _moved(self, operand: fx.Node, made: Sequence[Move], text: Text) -> Text:
        """A value after the last of its moves, which is written where it has not been."""
        move = made[-1]
        key = tuple((m.axis, m.after) for m in made)
        known = self.scope.moved.get((operand, key))
        if known is not None:
            return known
        name = self.scope.moved_name(operand, move, key, text)
        src, dst = self._shares.conversion(operand, made)
        self.groups.add(move.axis)
        self.events.append(
            Collective(
                self._shares.after(operand, made, name),
                self._shares.before(operand, made, text.text),
                verb_between(src, dst),
                src,
                dst,
                move.axis,
                move.grad,
            )
        )
        self.scope.moved[operand, key] = Text(name)
        if move.before.partial and not move.after.partial:
            self.scope.settle(operand, Text(name))
        return Text(name)


def _with_bias(node: fx.Node, texts: Sequence[Text]) -> Text | None:
    """A product and its bias, which normal.py has parted, as one `F.linear` where nothing comes between."""
    operands = operands_of(node)
    if name_of(node) != "aten::add" or node.kwargs or len(operands) != 2 or operands[1].op != "placeholder":
        return None
    if len(shape(operands[1])) != 1:
        return None
    if name_of(operands[0]) != "aten::linear" or not texts[0].text.startswith("F.linear("):
        return None
    return Text(f"{texts[0].text[:-1]}, {texts[1].text})")


def _base(node: fx.Node) -> str:
    return name_of(node).split("::")[1].strip("_")
