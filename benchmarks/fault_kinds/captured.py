"""Faults of capture: another graph than that of the user's `forward`, or other facts about the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import combinations, pairwise
from typing import Any

import torch
from torch import Tensor, fx

from fault_kinds.registry import Baseline, Sites, fault
from parc.capture.capture import Captured
from parc.capture.custom_ops import CALL
from parc.capture.graph import (
    Body,
    find_sources,
    get_item_source,
    get_name,
    get_value,
    is_item,
    list_operands,
)
from parc.shard.placed import Placed

CHANGING = {  # operators that no operand equals, unless a number makes them the identity
    *("silu", "gelu", "relu", "sigmoid", "tanh", "softmax", "log_softmax", "exp", "log", "sqrt", "rsqrt"),
    *("sin", "cos", "neg", "square", "pow", "reciprocal", "add", "sub", "rsub", "mul", "div", "cumsum"),
    *("layer_norm", "rms_norm", "masked_fill", "tril", "triu", "flip", "roll", "t", "transpose", "where"),
}
ORDERED = {"sub", "div", "pow", "matmul", "mm", "bmm", "where", "lt", "gt", "le", "ge"}
LISTS = {"cat", "stack"}  # an operand is a list
ALIKE = {  # an operator, and one that takes the same arguments
    "add": "sub",
    "sub": "add",
    "mul": "add",
    "div": "mul",
    "sin": "cos",
    "cos": "sin",
    "silu": "relu",
    "gelu": "silu",
    "relu": "silu",
    "sigmoid": "tanh",
    "tanh": "sigmoid",
    "rsqrt": "sqrt",
    "exp": "sin",
    "softmax": "log_softmax",
    "amax": "amin",
    "argmax": "argmin",
    "mean": "sum",
    "sum": "mean",
    "lt": "ge",
    "gt": "le",
    "le": "gt",
    "ge": "lt",
    "tril": "triu",
    "triu": "tril",
    "square": "neg",
}
COPIES = {"clone", "contiguous", "alias", "detach", "_to_copy", "lift_fresh_copy"}
SHAPE_ONLY = {*("new_zeros", "new_ones", "new_full", "zeros_like", "ones_like", "full_like", "empty_like")}
PLACE_ONLY = {"device", "layout", "pin_memory", "non_blocking", "memory_format", "copy", "generator", "dtype"}
OF_SHAPES = {"keepdim", "enable_gqa", "start", "end", "size", "dims", "sorted"}  # or of order alone
GUARD = 1e-5  # a number below that keeps a `clamp` from a division by zero
HUGE = 1e3  # the weight of what is masked with such a number is 0, whatever the number


def _short(node: fx.Node) -> str:
    return get_name(node).rpartition("::")[2]


def _bodies(captured: Captured) -> Iterator[Body]:
    """Each body once, callers first."""
    seen: set[int] = set()
    left = [captured.root, *captured.experts.values()]
    while left:
        body = left.pop(0)
        if id(body) not in seen:
            seen.add(id(body))
            yield body
            left += body.children.values()


def _live(body: Body) -> Iterator[fx.Node]:
    """The operations that results are made of."""
    needed = set().union(*(find_sources(result) for result in body.results()))
    yield from (node for node in body.operations() if node in needed and not is_item(node))


def _nodes(baseline: Baseline) -> Iterator[tuple[str, Body, fx.Node]]:
    """A name for each live operation, and where it is."""
    for body in _bodies(baseline.captured):
        for node in _live(body):
            yield f"{body.name}({body.path}) {node.name}", body, node


def _is_alike(one: fx.Node, other: fx.Node) -> bool:
    """Whether two values are tensors of one shape and type."""
    values = one.meta.get("val"), other.meta.get("val")
    if not all(isinstance(each, Tensor) for each in values):
        return False
    return get_value(one).shape == get_value(other).shape and get_value(one).dtype == get_value(other).dtype


def _origin(node: fx.Node) -> fx.Node:
    """The value that a value is a copy of."""
    while node.op == "call_function" and not is_item(node) and _short(node) in COPIES:
        node = list_operands(node)[0]
    return node


def _is_zero(argument: object) -> bool:
    """Whether an argument is the number 0, or a tensor of zeros."""
    if isinstance(argument, fx.Node):
        return argument.op == "call_function" and _short(argument) in ("new_zeros", "zeros_like", "zeros")
    return argument == 0


def _in_place(change: Callable[[], object]) -> Callable[[Any], Any]:
    def inject(captured: Captured) -> Captured:
        change()
        return captured

    return inject


@fault("an operation is dropped", "capture")
def _drop_operations(baseline: Baseline) -> Sites:
    def drop(node: fx.Node, operand: fx.Node) -> None:
        node.replace_all_uses_with(operand)
        node.graph.erase_node(node)

    for site, _, node in _nodes(baseline):
        if node.target is CALL or _short(node) not in CHANGING:
            continue
        left = [each for each in node.args if isinstance(each, fx.Node) and _is_alike(each, node)]
        for operand in dict.fromkeys(left):
            others = [each for each in node.args if each is not operand]
            number = others[0] if others and isinstance(others[0], int | float) else None
            neutral = {"mul": 1, "div": 1, "pow": 1}.get(_short(node), 0)
            if number == neutral and _short(node) in ("mul", "div", "pow", "add", "sub"):
                continue
            if _short(node) in ("add", "sub") and any(map(_is_zero, node.args)):
                continue  # a sum that begins: of a dense layer, zero is added to zero
            yield f"{site} -> {operand.name}", _in_place(partial(drop, node, operand))


@fault("operands are exchanged", "capture")
def _exchange_operands(baseline: Baseline) -> Sites:
    def exchange(node: fx.Node, at: int | None, first: int, second: int) -> None:
        args = list(node.args)
        inner = list(args) if at is None else list(args[at])  # type: ignore[arg-type]
        inner[first], inner[second] = inner[second], inner[first]
        node.args = tuple(inner) if at is None else (*args[:at], inner, *args[at + 1 :])

    for site, _, node in _nodes(baseline):
        nested = node.target is CALL or _short(node) in LISTS
        if not nested and _short(node) not in ORDERED | {"scaled_dot_product_attention"}:
            continue
        given = list(node.args[0] if nested else node.args[:3])  # type: ignore[arg-type]
        for (first, one), (second, other) in combinations(enumerate(given), 2):
            if not isinstance(one, fx.Node) or not isinstance(other, fx.Node):
                continue
            if _origin(one) is not _origin(other) and _is_alike(one, other):
                at = 0 if nested else None
                change = _in_place(partial(exchange, node, at, first, second))
                yield f"{site} {first}, {second}", change


@fault("a number is another", "capture")
def _change_numbers(baseline: Baseline) -> Sites:
    for site, _, node in _nodes(baseline):
        yield from _change_arguments(site, node)


@fault("a buffer is computed otherwise", "capture")
def _change_buffers(baseline: Baseline) -> Sites:
    """In all modules that compute it alike: they share a class, which has it once."""
    alike: dict[tuple[str, str], list[list[fx.Node]]] = {}
    for name, graph in baseline.captured.buffers.items():
        alike.setdefault((name.rpartition(".")[2], str(graph)), []).append(list(graph.nodes))
    for (name, _), graphs in alike.items():
        for nodes in zip(*graphs, strict=True):
            if nodes[0].op != "call_function" or is_item(nodes[0]):
                continue
            each = [
                [*_change_arguments(f"{name} {n.name}", n), *_take_for_another(f"{name} {n.name}", n)]
                for n in nodes
            ]
            for changes in zip(*each, strict=True):
                yield changes[0][0], partial(_inject_all, [inject for _, inject in changes])


def _inject_all(injections: list[Callable[[Any], Any]], captured: Captured) -> Captured:
    for inject in injections:
        inject(captured)
    return captured


def _change_arguments(site: str, node: fx.Node) -> Sites:
    """Other numbers in the place of a node's, where its shape stays."""
    if not isinstance(node.target, torch._ops.OpOverload) or node.target is CALL:
        return
    for place, stated in enumerate(node.target._schema.arguments):
        named = stated.name in node.kwargs
        if not named and place >= len(node.args):
            continue
        old = node.kwargs[stated.name] if named else node.args[place]
        new = _find_other(node, stated.name, str(stated.type), old)
        if new is not None:
            change = partial(_set_argument, node, stated.name, place, new)
            yield f"{site} {stated.name} = {new} (of {old})", _in_place(change)


def _set_argument(node: fx.Node, name: str, place: int, new: Any) -> None:
    """Also in what is noted of how the arguments depend on the batch."""
    symbols = node.meta.get("symbols")
    if name in node.kwargs:
        node.kwargs = {**node.kwargs, name: new}
        if symbols is not None:
            node.meta["symbols"] = replace(symbols, kwargs={**symbols.kwargs, name: new})
    else:
        node.update_arg(place, new)
        if symbols is not None:
            args = [*symbols.args]
            args[place] = new
            node.meta["symbols"] = replace(symbols, args=type(symbols.args)(args))


def _find_other(node: fx.Node, name: str, kind: str, old: Any) -> Any:
    """Another value of an argument that leaves the shape as it is; None where there is none."""
    short = _short(node)
    if short in ("dropout", "full", "scalar_tensor") or name in PLACE_ONLY | OF_SHAPES:
        return None
    if isinstance(old, bool):
        return not old if name in ("is_causal", "largest", "descending") else None
    if isinstance(old, float) and kind in ("float", "Optional[float]", "number", "Optional[number]"):
        harmless = (short.startswith("clamp") and old < GUARD) or (short == "masked_fill" and abs(old) > HUGE)
        return None if math.isinf(old) or harmless else 1.5 * old or 0.5
    if isinstance(old, int) and kind in ("number", "Optional[number]") and short not in ("arange", "fill"):
        return old + 1
    if isinstance(old, int) and name == "diagonal":
        return old + 1
    if isinstance(old, int) and name == "dim" and short in ("softmax", "log_softmax", "cumsum", "sort"):
        dims = get_value(node).ndim
        sizes = get_value(node).shape
        return next((d for d in range(dims) if d != old % dims and sizes[d] > 1), None)
    if isinstance(old, int) and name == "reduction":
        return {1: 2, 2: 1}.get(old)
    if isinstance(old, int) and short == "select" and name == "index":
        (operand,) = list_operands(node)
        size = get_value(operand).shape[int(node.args[1])]  # type: ignore[arg-type]
        return (old + 1) % size if size > 1 else None
    return None


@fault("an argument is dropped", "capture")
def _drop_arguments(baseline: Baseline) -> Sites:
    for site, _, node in _nodes(baseline):
        if not isinstance(node.target, torch._ops.OpOverload) or node.target is CALL:
            continue
        for place, stated in enumerate(node.target._schema.arguments):
            name, default = stated.name, stated.default_value
            if name in PLACE_ONLY | OF_SHAPES or not stated.has_default_value():
                continue
            if name not in node.kwargs and place >= len(node.args):
                continue
            given = node.kwargs[name] if name in node.kwargs else node.args[place]
            whole = _short(node) == "slice" and _is_alike(node, list_operands(node)[0])
            if given == default or whole or (_short(node) in ("sum", "mean") and name == "dim"):
                continue
            change = _in_place(partial(_set_argument, node, name, place, default))
            yield f"{site} without {name}", change


@fault("parameters are exchanged", "capture")
def _exchange_parameters(baseline: Baseline) -> Sites:
    def exchange(one: fx.Node, other: fx.Node) -> None:
        one.meta["tensor"], other.meta["tensor"] = other.meta["tensor"], one.meta["tensor"]

    for body in _bodies(baseline.captured):
        for one, other in combinations(body.tensors(), 2):
            if one.meta["buffer"] == other.meta["buffer"] and _is_alike(one, other):
                site = f"{body.name} {one.meta['tensor']}, {other.meta['tensor']}"
                yield site, _in_place(partial(exchange, one, other))


@fault("another value is read", "capture")
def _read_others(baseline: Baseline) -> Sites:
    for site, body, node in _nodes(baseline):
        if _short(node) in SHAPE_ONLY:
            continue
        before = [each for each in body.graph.nodes if each.op != "output"]
        before = before[: before.index(node)]
        for operand in dict.fromkeys(list_operands(node)):
            for other in before:
                if _is_alike(other, operand) and _origin(other) is not _origin(operand):
                    change = _in_place(partial(node.replace_input_with, operand, other))
                    yield f"{site} {operand.name} -> {other.name}", change


@fault("another result is read", "capture")
def _read_other_results(baseline: Baseline) -> Sites:
    for body in _bodies(baseline.captured):
        items = [node for node in body.operations() if is_item(node)]
        for one, other in combinations(items, 2):
            if get_item_source(one)[0] is get_item_source(other)[0] and _is_alike(one, other):
                for user in one.users:
                    if user.op != "output":
                        change = _in_place(partial(user.replace_input_with, one, other))
                        yield f"{body.name} {user.name} {one.name} -> {other.name}", change


@fault("an operator is taken for another", "capture")
def _take_operators_for_others(baseline: Baseline) -> Sites:
    for site, _, node in _nodes(baseline):
        yield from _take_for_another(site, node)


def _take_for_another(site: str, node: fx.Node) -> Sites:
    if not isinstance(node.target, torch._ops.OpOverload) or _short(node) not in ALIKE:
        return
    if _short(node) in ("add", "sub") and any(map(_is_zero, node.args)):
        return
    other = ALIKE[_short(node)]
    packet = getattr(torch.ops.aten, other)
    if node.target._overloadname not in packet.overloads():
        return
    target = getattr(packet, node.target._overloadname)
    names = {stated.name for stated in target._schema.arguments}
    if len(node.args) > len(target._schema.arguments) or not node.kwargs.keys() <= names:
        return
    yield f"{site} as {other}", _in_place(partial(setattr, node, "target", target))


@fault("a gradient is cut off", "capture")
def _cut_gradients(baseline: Baseline) -> Sites:
    def cut(node: fx.Node, operand: fx.Node) -> None:
        with node.graph.inserting_before(node):
            detached = node.graph.call_function(torch.ops.aten.detach.default, (operand,))
        detached.meta.update(operand.meta)
        detached.meta.pop("tensor", None)
        node.replace_input_with(operand, detached)

    facts = {node: fact[0] for placed in _placed(baseline) for node, fact in placed.facts.items()}
    for site, body, node in _nodes(baseline):
        if body.is_expert or not (node.target is CALL or facts[node].grad):
            continue
        for operand in dict.fromkeys(list_operands(node)):
            if operand in facts and facts[operand].grad and _short(node) not in SHAPE_ONLY:
                yield f"{site} {operand.name}", _in_place(partial(cut, node, operand))


def _placed(baseline: Baseline) -> Iterator[Placed]:
    left = [baseline.placed.root]
    while left:
        here = left.pop()
        yield here
        left += [*here.children.values(), *(each.inside for each in here.experts.values())]


@fault("a detach is lost", "capture")
def _lose_detaches(baseline: Baseline) -> Sites:
    facts = {node: fact[0] for placed in _placed(baseline) for node, fact in placed.facts.items()}
    for site, _, node in _nodes(baseline):
        if _short(node) == "detach":
            (operand,) = list_operands(node)
            if get_value(operand).is_floating_point() and _has_gradient(operand, facts):
                yield site, _in_place(partial(node.replace_all_uses_with, operand))


def _has_gradient(node: fx.Node, facts: dict[fx.Node, Any]) -> bool:
    """Whether a value depends on a parameter in a way that can be differentiated."""
    sources = [each for each in find_sources(node) if each.op == "placeholder"]
    return any("tensor" in each.meta and not each.meta["buffer"] for each in sources) or any(
        facts[each].varies and get_value(each).is_floating_point() for each in sources if each in facts
    )


@fault("layers are exchanged", "capture")
def _exchange_layers(baseline: Baseline) -> Sites:
    def exchange(one: fx.Node, other: fx.Node) -> None:
        one.args, other.args = (one.args[0], other.args[1]), (other.args[0], one.args[1])

    for body in _bodies(baseline.captured):
        calls = [node for node in _live(body) if node.target is CALL]
        for one, other in combinations(calls, 2):
            children = [body.children[str(node.args[1])] for node in (one, other)]
            if children[0] is children[1] and list(_parameters(children[0])):
                site = f"{body.name} {one.args[1]}, {other.args[1]}"
                yield site, _in_place(partial(exchange, one, other))


def _parameters(body: Body) -> Iterator[str]:
    yield from (node.meta["tensor"] for node in body.tensors() if not node.meta["buffer"])
    for child in body.children.values():
        yield from _parameters(child)


@fault("an initial value is another", "capture")
def _change_recipes(baseline: Baseline) -> Sites:
    others: list[tuple[str, Callable[[Any], Any]]] = [
        ("wider", lambda r: tuple(_scale(each, 1.5) for each in r)),
        ("narrower", lambda r: tuple(_scale(each, 0.5) for each in r)),
        ("zero", lambda _: (("zero_",),)),
        ("one", lambda _: (("fill_", 1.0),)),
        ("without its last step", lambda r: r[:-1] or (("normal_", 0.0, 1.0),)),
    ]
    for name, recipe in baseline.captured.recipes.items():
        for what, change in others:
            new = change(recipe)
            if new != recipe and not _is_same(recipe, new):
                yield f"{name} {what}", _give(name, new)


def _is_same(one: Any, other: Any) -> bool:
    """Whether two recipes are one constant, or alike but for the rounding of their numbers."""
    if [step[0] for step in one] == [step[0] for step in other]:
        pairs = [pair for steps in zip(one, other, strict=True) for pair in zip(*steps, strict=True)]
        if all(a == b or (not isinstance(a, str) and math.isclose(a, b, rel_tol=1e-6)) for a, b in pairs):
            return True
    constants = [
        {"zero_": 0.0, "fill_": r[0][1] if r[0][0] == "fill_" else None}.get(r[0][0]) if len(r) == 1 else None
        for r in (one, other)
    ]
    return constants[0] is not None and constants[0] == constants[1]


def _scale(step: tuple[str | float, ...], factor: float) -> tuple[str | float, ...]:
    return (step[0], *(each if isinstance(each, str) else factor * each for each in step[1:]))


def _give(name: str, recipe: Any) -> Callable[[Any], Any]:
    return lambda captured: replace(captured, recipes={**captured.recipes, name: recipe})


@fault("initial values are exchanged", "capture")
def _exchange_recipes(baseline: Baseline) -> Sites:
    recipes = baseline.captured.recipes
    names = list(recipes)
    for one, other in pairwise(names):
        if recipes[one] != recipes[other] and not _is_same(recipes[one], recipes[other]):
            new = {one: recipes[other], other: recipes[one]}
            yield f"{one}, {other}", partial(replace, recipes={**recipes, **new})


@fault("a result is taken for another", "capture")
def _take_results_for_others(baseline: Baseline) -> Sites:
    captured = baseline.captured
    yield "a mean for a sum" if captured.mean else "a sum for a mean", lambda c: replace(c, mean=not c.mean)
    if captured.balanced:
        yield "no balance loss", lambda c: replace(c, balanced=False)
