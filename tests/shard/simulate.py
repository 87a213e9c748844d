"""The ranks of one mesh axis, simulated in one process: values dealt to them by state, and joined again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from parc.capture.sizes import Size
from parc.emit.pretty import print_expression
from parc.ir.expression import expr, name
from parc.ir.states import FREE, I, Kind, P, R, S, State
from parc.lower.batch_sizes import BatchSizes, divide, make_constant
from parc.lower.printing.operation import Operation, with_operands
from parc.lower.printing.sharded_operators import print_local
from parc.runtime.vocabulary import sharded_embedding
from parc.shard import rules
from parc.shard.layout import Layout
from parc.shard.rules import Conflict, Decision, Operand, Site, decide

rules.load()
AXIS = "x"
DUAL = {Kind.INVARIANT: I, Kind.REPLICATE: P, Kind.PARTIAL: I}
# float64, a few hundred terms of order one, each of at most a dozen roundings of 1e-16
ROUNDING = 1e-11
# The conversions of parc/ir/collectives.py, and two that are made of two of them: P -> R by way of I, and I
# -> P by way of R.
MOVES = {
    (Kind.INVARIANT, Kind.REPLICATE),
    (Kind.INVARIANT, Kind.SHARDED),
    (Kind.INVARIANT, Kind.PARTIAL),
    (Kind.REPLICATE, Kind.SHARDED),
    (Kind.REPLICATE, Kind.PARTIAL),
    (Kind.PARTIAL, Kind.INVARIANT),
    (Kind.PARTIAL, Kind.SHARDED),
    (Kind.PARTIAL, Kind.REPLICATE),
    (Kind.SHARDED, Kind.REPLICATE),
    (Kind.SHARDED, Kind.INVARIANT),
}


def deal(full: Tensor, state: State, ranks: int) -> list[Tensor]:
    """What each rank holds of a value in this state."""
    if state.partial:
        terms = [_random_like(full) for _ in range(ranks - 1)]
        return [*terms, full - sum(terms)]
    if state.sharded:
        blocks = full.unflatten(state.dim, (state.blocks, ranks, -1)).unbind(state.dim + 1)
        return [block.flatten(state.dim, state.dim + 1) for block in blocks]
    return [full.clone() for _ in range(ranks)]


def join(parts: Sequence[Tensor], state: State) -> Tensor:
    """The whole value, from what each rank holds of it in this state."""
    if state.partial:
        return torch.stack(list(parts)).sum(0).to(parts[0].dtype)
    if state.sharded:
        blocks = [part.unflatten(state.dim, (state.blocks, -1)) for part in parts]
        return torch.stack(blocks, state.dim + 1).flatten(state.dim, state.dim + 2)
    for part in parts[1:]:
        equal(part, parts[0], f"ranks disagree on a value that is {state}")
    return parts[0]


def dual(state: State) -> State:
    """The state of a gradient: the table of parc/ir/states.py."""
    return state if state.sharded else DUAL[state.kind]


def equal(found: Tensor, expected: Tensor, where: str) -> None:
    assert found.shape == expected.shape, f"{where}: {tuple(found.shape)}, not {tuple(expected.shape)}"
    torch.testing.assert_close(
        found, expected, rtol=ROUNDING, atol=ROUNDING, msg=lambda text: f"{where}: {text}", equal_nan=True
    )


def _random_like(full: Tensor) -> Tensor:
    if full.is_floating_point():
        return torch.randn_like(full)
    return torch.randint(-3, 4, full.shape).to(full.dtype)


@dataclass(frozen=True)
class Sample:
    """One call of an operator on whole tensors."""

    name: str
    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    parameters: tuple[int, ...] = ()  # of the tensor operands, those that are parameters
    grad: bool = True  # whether any operand needs a gradient
    batch: int = 2  # what the plan says of the tokens: sequences, and the length of each
    length: int = 0

    def operands(self) -> list[Tensor]:
        return [leaf for leaf in pytree.tree_leaves((self.args, self.kwargs)) if isinstance(leaf, Tensor)]


@dataclass(frozen=True)
class Case:
    """A sample with a state for every operand."""

    sample: Sample
    ranks: int
    states: tuple[State, ...]
    sequence: bool = False
    lazy: bool = False
    constant: int = -1  # an operand that needs no gradient

    def __str__(self) -> str:
        states = ", ".join(map(str, self.states))
        flags = [name for name in ("sequence", "lazy") if getattr(self, name)]
        return f"{self.sample.name} of ({states}) over {self.ranks} {flags} constant {self.constant}"


def states_of(tensor: Tensor, ranks: int, parameter: bool) -> Iterator[State]:
    """Every state that a value of this shape may have on an axis."""
    yield from (I, R)
    if parameter:
        yield FREE
    elif tensor.dtype != torch.bool:
        yield P
    for dim, size in enumerate(tensor.shape):
        yield from (S(dim, blocks) for blocks in (1, 2, 3) if size % (blocks * ranks) == 0)


def cases(sample: Sample, ranks: int) -> Iterator[Case]:
    operands = sample.operands()
    choices = [list(states_of(t, ranks, i in sample.parameters)) for i, t in enumerate(operands)]
    floats = [place for place, t in enumerate(operands) if t.is_floating_point()]
    for states in product(*choices):
        yield Case(sample, ranks, states)
        if P in states:
            yield Case(sample, ranks, states, sequence=True)
            yield Case(sample, ranks, states, lazy=True)
            if len(floats) > 1:
                yield from (Case(sample, ranks, states, constant=place) for place in floats)


def site_of(case: Case) -> Site:
    """The node as propagation shows it to a rule."""
    sample = case.sample
    graph = fx.Graph()
    nodes: list[fx.Node] = []

    def placeholder(tensor: Tensor) -> fx.Node:
        node = graph.placeholder(f"x{len(nodes)}")
        node.meta["val"] = tensor.to("meta")
        if len(nodes) in sample.parameters:
            node.meta.update(tensor=node.name, buffer=False)
        nodes.append(node)
        return node

    args, kwargs = pytree.tree_map_only(Tensor, placeholder, (sample.args, sample.kwargs))
    node = graph.call_function(sample.target, args, kwargs)
    node.meta["val"] = sample.target(*sample.args, **sample.kwargs)
    layout = _layout(case)
    operands = [
        Operand(
            node,
            tuple(tensor.shape),
            state,
            grad=sample.grad and tensor.is_floating_point() and place != case.constant,
            varies=place not in sample.parameters,
            settled=layout.settle(tuple(tensor.shape), AXIS),
        )
        for place, (node, tensor, state) in enumerate(zip(nodes, sample.operands(), case.states, strict=True))
    ]
    return Site(node, operands, [tuple(value.shape) for value in _tensors(node.meta["val"])], lazy=case.lazy)


def decide_case(case: Case) -> Decision:
    """Raises Conflict."""
    return decide(site_of(case))


def verify(case: Case) -> bool:
    """Whether the rule accepts the case.

    Where it does, its ranks compute what one device does, and get the gradients that the states say.
    """
    site = site_of(case)
    try:
        decision = decide(site)
    except Conflict:
        return False
    if not _moves(case, decision):
        return False
    operands = case.sample.operands()
    if not all(map(_divides, operands, decision.wanted, [case.ranks] * 99)) or not all(
        map(_divides, _tensors(site.node.meta["val"]), decision.results, [case.ranks] * 99)
    ):
        return False  # propagation says that this does not divide
    _check_numbers(case, site, decision)
    return True


def _moves(case: Case, decision: Decision) -> bool:
    """Whether every operand can be moved as the rule asks: what is shared out is not shared out anew."""
    for place, (before, after) in enumerate(zip(case.states, decision.wanted, strict=True)):
        assert not case.lazy or not before.partial or after.partial, f"{case}: a sum of {place} is reduced"
        if place in case.sample.parameters and not before.sharded:
            continue  # decided, not moved
        if before.sharded and after.sharded and before != after:
            return False
        legal = before == after or (before.kind, after.kind) in MOVES
        assert legal, f"{case}: no move takes operand {place} {before} -> {after}"
    return True


def _check_numbers(case: Case, site: Site, decision: Decision) -> None:
    case_name = str(case)
    run = _Run(case, site, decision)
    whole = [
        _leaf(t, case.sample.grad and place != case.constant)
        for place, t in enumerate(case.sample.operands())
    ]
    expected = _tensors(_called(case.sample, whole))
    dealt = [
        deal(t.detach(), state, case.ranks) for t, state in zip(whole, _held(decision.wanted), strict=True)
    ]
    local = [
        [_leaf(parts[rank], w.requires_grad) for parts, w in zip(dealt, whole, strict=True)]
        for rank in range(case.ranks)
    ]
    found = [_tensors(run(rank, local[rank])) for rank in range(case.ranks)]
    for place, (value, state) in enumerate(zip(expected, decision.results, strict=True)):
        parts = [results[place].detach() for results in found]
        equal(join(parts, state), value.detach(), f"{case_name}: result {place}, {state}")
    differentiable = [place for place, value in enumerate(expected) if value.requires_grad]
    if not differentiable:
        return
    weights = [torch.randn_like(expected[place]) for place in differentiable]
    _backward([expected[place] for place in differentiable], weights)
    shares = [
        deal(w, dual(decision.results[place]), case.ranks)
        for place, w in zip(differentiable, weights, strict=True)
    ]
    for rank in range(case.ranks):
        _backward([found[rank][place] for place in differentiable], [share[rank] for share in shares])
    for place, (tensor, state) in enumerate(zip(whole, _held(decision.wanted), strict=True)):
        if tensor.requires_grad:
            parts = [_gradient(local[rank][place]) for rank in range(case.ranks)]
            gradient = join(parts, dual(state))
            equal(gradient, _gradient(tensor), f"{case_name}: gradient of operand {place}, {state}")


def _held(wanted: Sequence[State]) -> list[State]:
    return [I if state == FREE else state for state in wanted]


def _backward(values: Sequence[Tensor], weights: Sequence[Tensor]) -> None:
    total = sum(((v * w).sum() for v, w in zip(values, weights, strict=True)), torch.zeros(()))
    if total.requires_grad:  # a rank may hold nothing that depends on an operand
        total.real.backward()  # type: ignore[no-untyped-call]


def _gradient(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


def _leaf(tensor: Tensor, gradient: bool) -> Tensor:
    return tensor.detach().clone().requires_grad_(gradient and tensor.is_floating_point())


def _called(sample: Sample, operands: Sequence[Tensor]) -> Any:
    left = iter(operands)
    args, kwargs = pytree.tree_map_only(Tensor, lambda _: next(left), (sample.args, sample.kwargs))
    return sample.target(*args, **kwargs)


def _tensors(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else list(value)


def _divides(tensor: Tensor, state: State, ranks: int) -> bool:
    return not state.sharded or tensor.shape[state.dim] % (state.blocks * ranks) == 0


def _layout(case: Case) -> Layout:
    return Layout(
        (AXIS,),
        {AXIS: case.ranks},
        tensor=AXIS,
        sequence=case.sequence,
        batch=case.sample.batch,
        length=case.sample.length,
    )


@dataclass(frozen=True)
class _Group:
    index: int
    ranks: int

    def rank(self) -> int:
        return self.index

    def size(self) -> int:
        return self.ranks


class _Run:
    """What one rank runs: the operator as emission prints it for local shapes."""

    def __init__(self, case: Case, site: Site, decision: Decision) -> None:
        operands = case.sample.operands()
        states = [{AXIS: state} for state in _held(decision.wanted)]

        def divide_shape(shape: Sequence[int], local: Mapping[str, State]) -> tuple[Size, ...]:
            return divide([*map(make_constant, shape)], local, {AXIS: case.ranks})

        before = [divide_shape(t.shape, local) for t, local in zip(operands, states, strict=True)]
        results = [{AXIS: state} for state in decision.results]
        after = [divide_shape(shape, local) for shape, local in zip(site.shapes, results, strict=True)]
        sizes = BatchSizes(Layout((AXIS,), {AXIS: case.ranks}))
        args, kwargs = with_operands(site.node, lambda node: name(node.name), sizes.express)
        operation = Operation(site.node, args, kwargs, before, after, sizes, expr('"cpu"'))
        self.ranks, self.whole = case.ranks, operands
        self.text = print_expression(print_local(operation, states).tree)
        self.code = compile(self.text, "<printed>", "eval")

    def __call__(self, rank: int, operands: Sequence[Tensor]) -> Any:
        owner = type("Module", (), {AXIS: _Group(rank, self.ranks)})
        names: dict[str, Any] = {f"x{place}": tensor for place, tensor in enumerate(operands)}
        given: dict[str, Callable[..., Any]] = {
            "sharded_embedding": sharded_embedding,
            "cross_entropy": self._cross_entropy,
        }
        try:
            return eval(self.code, {"torch": torch, "F": F, "math": math, "self": owner, **given, **names})
        except Exception as fault:
            shapes = [tuple(tensor.shape) for tensor in operands]
            raise AssertionError(f"`{self.text}` fails on {shapes}: {fault}") from fault

    def _cross_entropy(
        self,
        logits: Tensor,
        labels: Tensor,
        reduction: str,
        tokens: Sequence[_Group],
        ignore_index: int = -100,
    ) -> Tensor:
        """The mean over the valid tokens of all ranks; tests/runtime/test_vocabulary.py has the real one."""
        assert reduction == "mean"
        assert len(tokens) == 1
        valid = (self.whole[1] != ignore_index).sum()
        return F.cross_entropy(logits, labels, reduction="sum", ignore_index=ignore_index) / valid
