"""One walk over one body: states forward, node by node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor, fx

from parc.capture.custom_ops import CALL, EXPERTS
from parc.capture.graph import Body, is_item, item_of, name_of, operands_of, shape, value
from parc.ir.states import I, R
from parc.shard.parameter_placements import Decisions
from parc.shard.placed import Fact, Placed, PlacedExperts, Refused, States
from parc.shard.redistribute import ZEROS, Moves
from parc.shard.rules import Conflict, Decision, Operand, Site, rule_for

_CONSTANTS = (
    *ZEROS,
    "aten::detach",
    "aten::new_ones",
    "aten::new_full",
    "aten::ones_like",
    "aten::full_like",
    "aten::one_hot",
)


class Walk:
    """Places the values of one body, called in one way."""

    def __init__(
        self,
        decisions: Decisions,
        place: Callable[[Body, tuple[Fact, ...], str], Placed],
        experts: Mapping[str, Body],
        body: Body,
        inputs: tuple[Fact, ...],
        path: str,
        number: int,
    ) -> None:
        self.layout = decisions.layout
        self._place, self._bodies = place, experts
        self.body, self.path = body, path
        self.placed = Placed(body)
        self._moves = Moves(decisions, self.placed, path, number)
        for node, fact in zip(body.inputs(), inputs, strict=True):
            self.placed.facts[node] = (fact,)
        for node in body.tensors():
            grad = not node.meta["buffer"] and value(node).is_floating_point()
            states = decisions.first_states(self._moves.key(node), node, path, body.is_expert)
            cut = (
                self.layout.tensor is not None and states[self.layout.axes.index(self.layout.tensor)].sharded
            )
            origins = frozenset({self._moves.key(node)}) if cut else frozenset[str]()
            self.placed.facts[node] = (Fact(states, grad, varies=False, origins=origins),)

    def run(self) -> Placed:
        """Every node in order. Raises Again, or Refused."""
        for node in self.body.operations():
            if is_item(node):
                source, place = item_of(node)
                self.placed.facts[node] = (self.placed.facts[source][place],)
            elif node.target is CALL:
                self._call(node)
            else:
                self._operator(node)
        return self.placed

    def _call(self, node: fx.Node) -> None:
        """Partial sums are settled by the caller, so that all who read one share it; scalars pass."""
        name = node.args[1]
        assert isinstance(name, str)
        operands = operands_of(node)
        wanted = [self._settled_states(operand) for operand in operands]
        self._moves.record(node, operands, wanted)
        inputs = tuple(
            replace(self.placed.now(o), states=states) for o, states in zip(operands, wanted, strict=True)
        )
        child = self._place(self.body.children[name], inputs, f"{self.path}{name}.")
        if self.placed.children.setdefault(name, child) is not child:
            raise Refused(
                f"`{name}` is called twice, with values that are sharded differently",
                self.layout.axes[0],
                self.body,
                node,
            )
        self.placed.facts[node] = tuple(child.results())

    def _settled_states(self, operand: fx.Node) -> States:
        states = zip(self.placed.now(operand).states, self.layout.axes, strict=True)
        of = shape(operand)
        return tuple(
            self.layout.settled(of, axis) if of and state.partial else state for state, axis in states
        )

    def _operator(self, node: fx.Node) -> None:
        operands = operands_of(node)
        shapes = [tuple(v.shape) for v in _values(node)]
        decisions = []
        for axis in self.layout.axes:
            try:
                decisions.append(self._decide(self._site(node, operands, shapes, axis)))
            except Conflict as conflict:
                self._moves.blame(conflict, node, operands, axis)
            self._moves.check(node, shapes, decisions[-1].results, axis)
        self._moves.record(
            node, operands, [tuple(d.wanted[place] for d in decisions) for place in range(len(operands))]
        )
        self.placed.facts[node] = tuple(
            self._fact(node, operands, index, tuple(d.results[index] for d in decisions))
            for index in range(len(shapes))
        )
        if node.target is EXPERTS:
            self._experts(node)

    def _decide(self, site: Site) -> Decision:
        rule = rule_for(site.node)
        if rule is not None:
            return rule(site)
        if any(state.sharded or state.partial for state in site.states):
            raise Conflict(f"`{name_of(site.node)}` has no rule for sharded operands")
        state = R if R in site.states else I
        return Decision([state] * len(site.operands), [state] * len(site.shapes))

    def _site(
        self, node: fx.Node, operands: Sequence[fx.Node], shapes: Sequence[tuple[int, ...]], axis: str
    ) -> Site:
        place = self.layout.axes.index(axis)
        seen = []
        for operand in operands:
            fact, of = self.placed.now(operand), shape(operand)
            settled = self.layout.settled(of, axis)
            seen.append(Operand(operand, of, fact.states[place], fact.grad, fact.varies, settled))
        return Site(
            node,
            seen,
            shapes,
            lazy=self.body.is_expert,
            dispatches=axis == self.layout.experts,
            splits_experts=axis == self.layout.experts_tensor,
        )

    def _fact(self, node: fx.Node, operands: Sequence[fx.Node], index: int, states: States) -> Fact:
        facts = [self.placed.now(operand) for operand in operands]
        grad = any(fact.grad for fact in facts) and name_of(node) not in _CONSTANTS
        origins: frozenset[str] = frozenset()
        if self.layout.tensor and states[self.layout.axes.index(self.layout.tensor)].sharded:
            origins = origins.union(*(fact.origins for fact in facts))
        return Fact(
            states,
            grad and _values(node)[index].is_floating_point(),
            any(fact.varies for fact in facts),
            origins,
        )

    def _experts(self, node: fx.Node) -> None:
        """Inside, rows are dealt out already: only the axis that splits each expert is propagated."""
        path = node.args[3]
        assert isinstance(path, str)
        tokens = self.placed.wanted[node][0]
        states = []
        for axis, state in zip(self.layout.axes, tokens, strict=True):
            whole = I if axis == self.layout.experts or state == I else R
            states.append(R if axis == self.layout.experts_tensor else whole)
        body = self._bodies[path]
        relative = path.removeprefix(self.path)
        inside = self._place(body, (Fact(tuple(states), True, True),), f"{self.path}{relative}.")
        self._check_experts(node, inside)
        over = self.layout.experts
        travel = over is not None and tokens[self.layout.axes.index(over)].sharded
        self.placed.experts[node] = PlacedExperts(relative, inside, over, travel)

    def _check_experts(self, node: fx.Node, inside: Placed) -> None:
        axis = self.layout.experts_tensor
        if axis is not None:
            state = inside.results()[0].states[self.layout.axes.index(axis)]
            if not state.partial:
                raise Refused(
                    f"an expert cannot be split over it: its result ends {state.describe()}",
                    axis,
                    self.body,
                    node,
                )


def _values(node: fx.Node) -> list[Tensor]:
    val = node.meta["val"]
    return [val] if isinstance(val, Tensor) else list(val)
