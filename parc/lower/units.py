"""Placed bodies become units: module classes with their parameters, members and events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import fx

from parc.capture.custom_ops import CALL, EXPERTS
from parc.capture.experts.bank import Bank
from parc.capture.graph import user_name, value
from parc.capture.initializers import Recipe
from parc.ir.program import Collective, Compute, Experts, Unit, Value
from parc.ir.runtime_names import GLOBALS
from parc.ir.states import V
from parc.lower.body import Writer
from parc.lower.local_values import Shares
from parc.lower.parameters import Tensors
from parc.shard.placed import Layout, Placed, PlacedExperts


class Units:
    """Makes one unit of every placed body, callees before callers."""

    def __init__(
        self,
        layout: Layout,
        recipes: Mapping[str, Recipe],
        buffers: Mapping[str, fx.Graph],
        banks: Mapping[str, Bank],
    ) -> None:
        self.layout, self.banks = layout, banks
        self.tensors = Tensors(layout, recipes, buffers, banks)
        self.made: list[Unit] = []
        self.names: dict[int, str] = {}  # of units, by the id of what they stand for
        self._dealt: dict[tuple[int, str | None, bool], str] = {}  # units of experts

    def below(self, placed: Placed, nodes: Sequence[fx.Node]) -> None:
        """Make the units that `nodes` call."""
        for node in nodes:
            if node.target is CALL:
                self._unit(placed.children[str(node.args[1])])
            elif node.target is EXPERTS:
                self._experts(placed.experts[node])

    def _unit(self, placed: Placed) -> None:
        if id(placed) in self.names:
            return
        nodes = list(placed.body.operations())
        self.below(placed, nodes)
        writer = self.writer(placed, nodes)
        inputs, shares = [], Shares(placed, self.layout)
        for node in placed.body.inputs():
            writer.bind(node, node.meta["name"])
            inputs.append(shares.made(node, node.meta["name"]))
        writer.device = _device(inputs)
        writer.write(nodes)
        results = tuple(writer.given(node) for node in placed.body.results())
        members = {m: self.names[id(p)] for m, p in placed.children.items()}
        members |= {e.path: self.names[id(e)] for e in placed.experts.values()}
        self._keep(placed, placed, writer, tuple(inputs), results, members)

    def writer(self, placed: Placed, nodes: Sequence[fx.Node]) -> Writer:
        """A writer of `nodes` that knows the parameters and buffers of the body."""
        writer = Writer(placed, self.layout, self.names, nodes)
        for node in placed.body.tensors():
            writer.refer(node, attribute(user_name(node.meta["tensor"])))
        return writer

    def _keep(
        self,
        key: object,
        placed: Placed,
        writer: Writer,
        inputs: tuple[Value, ...],
        results: tuple[Value, ...],
        members: Mapping[str, str],
        info: Experts | None = None,
    ) -> None:
        unit = Unit(
            placed.body.name,
            user_name(placed.body.path),
            placed.body.doc,
            tuple(axis for axis in self.layout.axes if axis in writer.groups),
            self.tensors.parameters(placed, placed.body.tensors(), info),
            self.tensors.constants(placed.body.tensors(), placed.body.path),
            members,
            inputs,
            tuple(writer.events),
            results,
            info,
        )
        same = next(
            (made for made in self.made if replace(unit, name=made.name, path=made.path) == made), None
        )
        if same is None:
            same = replace(unit, name=self._name(unit.name))
            self.made.append(same)
        self.names[id(key)] = same.name

    def _name(self, wish: str) -> str:
        taken = {unit.name for unit in self.made} | GLOBALS
        name, number = wish, 1
        while name in taken:
            number += 1
            name = f"{wish}{number}"
        return name

    def _experts(self, dealt: PlacedExperts) -> None:
        if id(dealt) in self.names:
            return
        placed = dealt.inside
        key = (id(placed), dealt.axis, dealt.travel)
        if key in self._dealt:
            self.names[id(dealt)] = self._dealt[key]
            return
        nodes = list(placed.body.operations())
        writer = self.writer(placed, nodes)
        (rows,) = placed.body.inputs()
        bank = self.banks[placed.body.path]
        info = Experts(bank.count, dealt.axis, dealt.travel)
        writer.bind(rows, rows.meta["name"])
        width, dtype = value(rows).shape[-1], str(value(rows).dtype)
        inputs = (
            Value("tokens", ("tokens", width), dtype),
            Value("indices", ("tokens", "k"), "torch.int64"),
            Value("weights", ("tokens", "k"), dtype),
        )
        writer.events.append(_dispatch(rows.meta["name"], width, dtype, info))
        writer.write(nodes)
        (result,) = placed.body.results()
        out = writer.result(result)
        writer.events.append(_combine(out, width, dtype, info))
        if dealt.axis:
            writer.groups.add(dealt.axis)
        results = (Value("combined", ("tokens", width), dtype),)
        self._keep(dealt, placed, writer, inputs, results, {}, info)
        self._dealt[key] = self.names[id(dealt)]


def attribute(path: str) -> str:
    """The expression for an attribute path; numbered children live in a ModuleDict."""
    text = "self"
    for part in path.split("."):
        text += f'["{part}"]' if part.isdigit() else f".{part}"
    return text


def _device(inputs: Sequence[Value]) -> str:
    return f"{inputs[0].name}.device" if inputs else "self.device"


def _dispatch(rows: str, width: int, dtype: str, info: Experts) -> Compute:
    """Tokens to the ranks of their experts, sorted by expert."""
    results = (
        Value(rows, ("rows", width), dtype),
        Value("counts", ("experts",), "list"),
        Value("route", (), "Route"),
    )
    moved = Collective(
        results[0],
        Value("tokens", ("tokens", width), dtype),
        "dispatch",
        V,
        V,
        info.axis or "",
    )
    if info.axis is None:
        return Compute(results, f"dispatch(tokens, indices, {info.count})")
    if info.travel:
        return Compute(results, f"dispatch(tokens, indices, {info.count}, self.{info.axis})", (moved,))
    return Compute(results, f"dispatch_local(tokens, indices, {info.count}, self.{info.axis})")


def _combine(out: str, width: int, dtype: str, info: Experts) -> Compute:
    result = Value("combined", ("tokens", width), dtype)
    moved = Collective(result, Value(out, ("rows", width), dtype), "combine", V, V, info.axis or "")
    return Compute((result,), f"combine({out}, weights, route)", (moved,) if info.travel else ())
