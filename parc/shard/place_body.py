"""Places the values of one body, node by node."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from torch import fx

from parc.capture.custom_ops import CALL, EXPERTS
from parc.capture.graph import (
    Body,
    get_item_source,
    get_name,
    get_shape,
    get_value,
    is_item,
    is_parameter,
    list_operands,
    list_values,
)
from parc.ir.states import I, R, State
from parc.plan.mesh import split_group_name
from parc.shard.gradients import CONSTANTS, Flows, Reached, can_have_gradient
from parc.shard.parameter_placements import ParameterPlacements, Refused
from parc.shard.placed import Fact, Placed, PlacedExperts, States
from parc.shard.redistribute import MoveRecorder
from parc.shard.rules import Conflict, Decision, Operand, Site, decide, decide_alone


class BodyPlacer:
    """Places a body that is called in one way. `place_child` places what it calls."""

    def __init__(
        self,
        parameters: ParameterPlacements,
        place_child: Callable[[Body, tuple[Fact, ...], Reached, str], Placed],
        experts: Mapping[str, Body],
        flows: Flows,
        of_ranks: Collection[fx.Node],
        body: Body,
        reached: Reached,
        path: str,
        number: int,
    ) -> None:
        self.layout = parameters.layout.inside_experts if body.is_expert else parameters.layout
        self.body, self.path = body, path
        self.placed = Placed(body, self.layout, of_ranks=of_ranks)
        self._parameters, self._place_child, self._experts = parameters, place_child, experts
        self._flows, self._flow = flows, flows.find(body, reached)
        self._moves = MoveRecorder(parameters, self.placed, self._flow, path, number)

    def place(self, inputs: tuple[Fact, ...]) -> Placed:
        """Every node in order. Raises Restart, or Refused."""
        for node, fact in zip(self.body.inputs(), inputs, strict=True):
            self.placed.facts[node] = (replace(fact, grad=fact.grad and self._flow.reaches(node)),)
        for node in self.body.tensors():
            self._place_tensor(node)
        for node in self.body.operations():
            if is_item(node):
                source, place = get_item_source(node)
                self.placed.facts[node] = (self.placed.facts[source][place],)
            elif node.target is CALL:
                self._place_call(node)
            else:
                self._place_operator(node)
        return self.placed

    def _place_tensor(self, node: fx.Node) -> None:
        key = self._moves.make_key(node)
        states = self._parameters.find_states(key, node, self.path, self.layout, self.body.is_expert)
        tensor = self._get_state(states, self.layout.tensor)
        origins = frozenset({key}) if tensor is not None and tensor.sharded else frozenset[str]()
        grad = is_parameter(node) and can_have_gradient(get_value(node)) and self._flow.reaches(node)
        self.placed.facts[node] = (Fact(states, grad, varies=False, origins=origins),)

    def _place_call(self, node: fx.Node) -> None:
        """Partial sums are settled by the caller, so that all who read one share it; scalars pass."""
        name = str(node.args[1])
        operands = list_operands(node)
        wanted = [self._settle(operand) for operand in operands]
        self._moves.record(node, operands, wanted)
        facts = [self.placed.get_settled(operand) for operand in operands]
        inputs = tuple(replace(fact, states=states) for fact, states in zip(facts, wanted, strict=True))
        reached = self._flows.find_reached(node, self._flow)
        child = self._place_child(self.body.children[name], inputs, reached, f"{self.path}{name}.")
        if (known := self.placed.children.setdefault(name, child)) is not child:
            reason = f"`{name}` is called twice, with values that are sharded differently"
            cure = "use two modules, one for each call"
            raise Refused(reason, self._find_other_axis(known, inputs), self.body, node, cure)
        self.placed.facts[node] = tuple(child.results())

    def _find_other_axis(self, known: Placed, inputs: Sequence[Fact]) -> str:
        """The axis on which a module is given other states than in the call that is known."""
        pairs = [*zip(known.body.inputs(), inputs, strict=True)]
        for number, axis in enumerate(self.layout.axes):
            if any(known.get_fact(node).states[number] != fact.states[number] for node, fact in pairs):
                return axis
        return self.layout.axes[0]

    def _settle(self, operand: fx.Node) -> States:
        """The states of an operand once its partial sums are reduced; those of a scalar are kept."""
        sizes, axes = get_shape(operand), self.layout.axes
        states = zip(self.placed.get_settled(operand).states, axes, strict=True)
        return tuple(
            self.layout.settle(sizes, axis) if sizes and state.partial else state for state, axis in states
        )

    def _place_operator(self, node: fx.Node) -> None:
        operands = list_operands(node)
        shapes = [tuple(v.shape) for v in list_values(node)]
        decisions = []
        for axis in self.layout.axes:
            site = self._make_site(node, operands, shapes, axis)
            try:
                alone = node in self.placed.of_ranks and axis in self.layout.data
                decisions.append(decide_alone(site) if alone else decide(site))
            except Conflict as conflict:
                gathered = self._decide_gathered(site, axis)
                if gathered is None:
                    self._moves.retract(conflict, node, operands, axis)
                decisions.append(gathered)
            self._moves.check_division(node, shapes, decisions[-1].results, axis)
        wanted = [tuple(each.wanted[place] for each in decisions) for place in range(len(operands))]
        self._moves.record(node, operands, wanted)
        self.placed.facts[node] = tuple(
            self._derive_fact(node, operands, place, tuple(each.results[place] for each in decisions))
            for place in range(len(shapes))
        )
        if node.target is EXPERTS:
            self._place_experts(node)

    def _make_site(
        self, node: fx.Node, operands: Sequence[fx.Node], shapes: Sequence[tuple[int, ...]], axis: str
    ) -> Site:
        place, parts = self.layout.axes.index(axis), set(split_group_name(axis))
        seen = []
        for operand in operands:
            fact, sizes = self.placed.get_settled(operand), get_shape(operand)
            settled = self.layout.settle(sizes, axis)
            seen.append(Operand(operand, sizes, fact.states[place], fact.grad, fact.varies, settled))
        return Site(
            node,
            seen,
            shapes,
            lazy=self.body.is_expert,
            dispatches=not parts.isdisjoint(self.layout.experts),
            splits_experts=not parts.isdisjoint(self.layout.experts_tensor),
        )

    def _decide_gathered(self, site: Site, axis: str) -> Decision | None:
        """A decision with every token on every rank of the tensor axis, as without a sharded sequence."""
        if axis != self.layout.tensor:
            return None
        operands = [
            replace(operand, state=R) if operand.state.sharded and not self._is_cut(operand) else operand
            for operand in site.operands
        ]
        try:
            return decide(replace(site, operands=operands)) if operands != site.operands else None
        except Conflict:
            return None

    def _is_cut(self, operand: Operand) -> bool:
        """Whether a value is sharded because a parameter is; else its tokens are."""
        return bool(self.placed.get_fact(operand.node).origins)

    def _derive_fact(self, node: fx.Node, operands: Sequence[fx.Node], place: int, states: States) -> Fact:
        facts = [self.placed.get_settled(operand) for operand in operands]
        needed = any(fact.grad for fact in facts) and get_name(node) not in CONSTANTS
        tensor = self._get_state(states, self.layout.tensor)
        carried = facts if tensor is not None and tensor.sharded else []
        return Fact(
            states,
            needed and self._flow.reaches(node) and can_have_gradient(list_values(node)[place]),
            any(fact.varies for fact in facts),
            frozenset[str]().union(*(fact.origins for fact in carried)),
        )

    def _place_experts(self, node: fx.Node) -> None:
        """Inside, rows are distributed already: only the axes that split each expert are propagated."""
        path, layout = str(node.args[3]), self.layout
        member = path.removeprefix(f"{self.body.path}.") if self.body.path else path
        inner = layout.inside_experts
        pairs = zip(layout.axes, self.placed.wanted[node][0], strict=True)
        tokens = {part: state for axis, state in pairs for part in split_group_name(axis)}
        inputs = (Fact(tuple(self._enter(axis, tokens) for axis in inner.axes), grad=True, varies=True),)
        inside = self._place_child(self._experts[path], inputs, frozenset({0}), f"{self.path}{member}.")
        if inner.tensor is not None:
            split = inside.results()[0].states[inner.axes.index(inner.tensor)]
            if not split.partial:
                reason = f"an expert cannot be split over it: its result ends {split.describe()}"
                raise Refused(reason, inner.tensor, self.body, node)
        travel = [axis for axis in layout.experts if tokens[axis].sharded]
        self.placed.experts[node] = PlacedExperts(
            member,
            inside,
            layout.name_group(layout.experts) or None,
            layout.name_group(travel) or None,
            self._list_shards(tokens) if layout.capacity is not None else (),
        )

    def _list_shards(self, tokens: Mapping[str, State]) -> tuple[tuple[str, int], ...]:
        """The groups whose ranks have shares of the tokens, outermost first, and the blocks that they divide.

        `tokens` has the states of the tokens by axis of the mesh.
        """
        axes: dict[int, list[str]] = {}
        for axis, state in tokens.items():
            if state.sharded:
                axes.setdefault(state.blocks, []).append(axis)
        shards, divided = [], 1
        for blocks in sorted(axes):
            group = self.layout.name_group(axes[blocks])
            shards.append((group, blocks // divided))
            divided *= self.layout.sizes[group]
        return tuple(shards)

    def _enter(self, axis: str, tokens: Mapping[str, State]) -> State:
        """The state on an axis of the rows of experts. `tokens` has those of tokens by axis of the mesh."""
        if axis == self.layout.inside_experts.tensor:
            return R
        return I if axis in self.layout.experts or tokens[axis] == I else R

    def _get_state(self, states: States, axis: str | None) -> State | None:
        return None if axis is None else states[self.layout.axes.index(axis)]
