"""Placed bodies become units: module classes with their parameters, members and events."""

from __future__ import annotations

import ast
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from textwrap import shorten

from torch import fx

from parc.capture.custom_ops import CALL, EXPERTS
from parc.capture.experts.bank import Bank
from parc.capture.graph import get_input_name, get_tensor_name, get_user_name, get_value
from parc.capture.symbols import FixedSizes
from parc.ir.expression import Expression, attribute, call, expr, group_attribute, literal, name
from parc.ir.program import Accumulate, Collective, Compute, Event, Experts, Operand, Requirement, Unit, Value
from parc.ir.runtime_names import GLOBALS, TOKEN_COUNTS
from parc.ir.states import I, S, V
from parc.ir.walk import list_expressions
from parc.lower.batch_sizes import find_sizes
from parc.lower.body import Writer
from parc.lower.local_values import Shares
from parc.lower.parameters import TensorTable
from parc.shard.layout import Layout
from parc.shard.placed import Placed, PlacedExperts

LONGEST_REASON = 90  # characters of the message of an exception


class Units:
    """Makes one unit of every placed body, callees before callers."""

    def __init__(
        self,
        layout: Layout,
        buffers: Mapping[str, fx.Graph],
        banks: Mapping[str, Bank],
        fixed: Sequence[FixedSizes],
        kept: Container[str] = (),
    ) -> None:
        self.layout, self.banks = layout, banks
        self._fixed = {each.path: each.reason for each in fixed}
        self.tensors = TensorTable(layout, buffers, banks, kept)
        self.made: list[Unit] = []
        self.names: dict[int, str] = {}  # of units, by the id of what they stand for
        self._dealt: dict[tuple[object, ...], str] = {}  # units of experts

    def make_called_units(self, placed: Placed, nodes: Sequence[fx.Node]) -> None:
        """Make the units that `nodes` call."""
        for node in nodes:
            if node.target is CALL:
                self._make_unit(placed.children[str(node.args[1])])
            elif node.target is EXPERTS:
                self._make_experts(placed.experts[node])

    def _make_unit(self, placed: Placed) -> None:
        if id(placed) in self.names:
            return
        nodes = list(placed.body.operations())
        self.make_called_units(placed, nodes)
        shares = Shares(placed)
        inputs = {node: shares.describe_as_made(node, get_input_name(node)) for node in placed.body.inputs()}
        writer = self.create_writer(placed, nodes, [value.name for value in inputs.values()])
        for node, given in inputs.items():
            writer.bind(node, given.name)
        writer.write()
        results = tuple(writer.read_result(node) for node in placed.body.results())
        members = {m: self.names[id(p)] for m, p in placed.children.items()}
        members |= {e.path: self.names[id(e)] for e in placed.experts.values()}
        self._keep(placed, placed, writer, tuple(inputs.values()), results, members)

    def create_writer(
        self,
        placed: Placed,
        nodes: Sequence[fx.Node],
        inputs: Sequence[str],
        kept: Collection[fx.Node] = (),
    ) -> Writer:
        """A writer of `nodes` that knows the parameters and buffers of the body.

        New tensors are made on the device of the first of `inputs`.
        """
        trees = {node: attribute(get_user_name(get_tensor_name(node))) for node in placed.body.tensors()}
        (owner, *_) = [*map(name, inputs), *trees.values()]
        device = expr("owner.device", owner=owner)
        writer = Writer(placed, self.names, nodes, device, kept)
        for node, tree in trees.items():
            writer.refer(node, tree)
        return writer

    def find_requirement(
        self, placed: Placed, writer: Writer, inputs: Sequence[Value], nodes: Sequence[fx.Node]
    ) -> Requirement | None:
        """The sizes that a forward pass of `nodes`, which are called `inputs`, is bound to, if it is."""
        reason = self._fixed.get(get_user_name(placed.body.path))
        if reason is None and not writer.bound_by:
            return None
        for given, node in zip(inputs, nodes, strict=True):
            varies = [not size.is_constant for size in find_sizes(node)]
            first = varies.index(False) if reason and False in varies else 0
            sizes = tuple(size for size in given.shape[first:] if isinstance(size, int))
            if sizes:
                why = shorten(reason or writer.bound_by, LONGEST_REASON)
                return Requirement(given.name, first, sizes, why)
        return None

    def _keep(
        self,
        key: object,
        placed: Placed,
        writer: Writer,
        inputs: tuple[Value, ...],
        results: tuple[Operand, ...],
        members: Mapping[str, str],
        info: Experts | None = None,
    ) -> None:
        unit = Unit(
            placed.body.name,
            get_user_name(placed.body.path),
            placed.body.doc,
            self.layout.order_groups(writer.groups),
            self.tensors.parameters(placed, placed.body.tensors(), info),
            self.tensors.declare_buffers(placed.body.tensors(), placed.body.path),
            members,
            inputs,
            tuple(writer.events),
            results,
            experts=info,
            requirement=None if info else self.find_requirement(placed, writer, inputs, placed.body.inputs()),
        )
        unit = replace(unit, numbers=find_numbers_read(unit, writer.numbers))
        same = next(
            (made for made in self.made if replace(unit, name=made.name, path=made.path) == made), None
        )
        if same is None:
            same = replace(unit, name=self._choose_name(unit.name))
            self.made.append(same)
        self.names[id(key)] = same.name

    def _choose_name(self, wish: str) -> str:
        taken = {unit.name for unit in self.made} | GLOBALS
        name, number = wish, 1
        while name in taken:
            number += 1
            name = f"{wish}{number}"
        return name

    def _make_experts(self, dealt: PlacedExperts) -> None:
        if id(dealt) in self.names:
            return
        placed = dealt.inside
        key = (id(placed), dealt.group, dealt.travel, dealt.shards)
        if key in self._dealt:
            self.names[id(dealt)] = self._dealt[key]
            return
        nodes = list(placed.body.operations())
        (rows,) = placed.body.inputs()
        variable = get_input_name(rows)
        bank = self.banks[placed.body.path]
        sizes = self.layout.sizes
        reached = (
            bank.count * sizes[dealt.travel] // sizes[dealt.group] if dealt.group and dealt.travel else 0
        )
        info = Experts(bank.count, dealt.group, dealt.travel, reached, self.layout.capacity, dealt.shards)
        width, dtype = get_value(rows).shape[-1], str(get_value(rows).dtype)
        tokens = Value("tokens", ("tokens", width), dtype)
        indices = Value("indices", ("tokens", "k"), "torch.int64")
        weights = Value("weights", ("tokens", "k"), dtype)
        writer = self.create_writer(placed, nodes, [variable])
        writer.bind(rows, variable)
        if info.capacity is not None:
            writer.events.append(_write_capacity(info.capacity, info))
        writer.events += _write_dispatch(Value(variable, ("rows", width), dtype), tokens, info)
        writer.write()
        (result,) = placed.body.results()
        combined = _write_combine(writer.read_result(result), tokens, info)
        writer.events.append(combined)
        writer.groups |= {group for group in (dealt.group, dealt.travel) if group}
        writer.groups |= {group for group, _ in dealt.shards}
        results = (Operand.of(combined.results[0]),)
        self._keep(dealt, placed, writer, (tokens, indices, weights), results, {}, info)
        self._dealt[key] = self.names[id(dealt)]


def find_numbers_read(unit: Unit, known: Mapping[str, int | float]) -> dict[str, int | float]:
    """The attributes among `known` that a unit's forward pass reads."""
    trees = [expression.tree for expression in list_expressions(unit)]
    read = {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return {attribute: number for attribute, number in known.items() if attribute in read}


def _write_capacity(capacity: float, info: Experts) -> Compute:
    """Which pairs are within the capacity. The counts of the innermost group are exchanged first."""
    order = ast.List([ast.Tuple([group_attribute(group), literal(blocks)]) for group, blocks in info.shards])
    shards = {"shards": order} if info.shards else {}
    tree = call("keep_within_capacity", name("indices"), literal(info.count), literal(capacity), **shards)
    inside = []
    for group, blocks in reversed(info.shards):
        counts = Value("chosen", (blocks, info.count), "torch.int64")
        operand = Operand.of(counts)
        gather = Collective(counts, operand, "all_gather", S(0), I, group, grad=False, routes=True)
        inside.append(gather)
    return Compute((Value("kept", (), "KeptPairs"),), Expression(tree), tuple(inside))


def _write_dispatch(rows: Value, tokens: Value, info: Experts) -> Iterator[Event]:
    """Tokens to the ranks of their experts, sorted by expert; how many each expert has got is counted."""
    results = (rows, Value("counts", ("experts",), "list"), Value("route", (), "Route"))
    group = [group_attribute(info.group)] if info.group else []
    function = "dispatch_local" if info.group and not info.travel else "dispatch"
    if info.travel and info.travel != info.group:
        function, group = "dispatch_among", [group_attribute(info.travel), *group]
    kept = {} if info.capacity is None else {"kept": name("kept")}
    tree = call(function, name("tokens"), name("indices"), literal(info.count), *group, **kept)
    moved = Collective(rows, Operand.of(tokens), "dispatch", V, V, info.travel or "")
    yield Compute(results, Expression(tree), (moved,) if info.travel else ())
    yield Accumulate(TOKEN_COUNTS, Expression(expr("route.tokens_per_expert")))


def _write_combine(rows: Operand, tokens: Value, info: Experts) -> Compute:
    """Results back to their tokens, each with its weight."""
    result = replace(tokens, name="combined")
    tree = expr("combine(rows, weights, route)", rows=rows.expression.tree)
    moved = Collective(result, rows, "combine", V, V, info.travel or "")
    return Compute((result,), Expression(tree), (moved,) if info.travel else (), temporary=True)
