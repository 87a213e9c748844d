"""The events of a unit as the statements of its `forward`."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from parc.emit.trees import assign
from parc.ir.expression import attribute, call, expr, group_attribute, literal, name, substitute
from parc.ir.program import (
    Accumulate,
    Call,
    Collective,
    Compute,
    Event,
    Recv,
    Repeat,
    Requirement,
    Send,
    Unit,
    Value,
)

LONGEST = 80  # characters of what is written inside of another expression


def write_forward(unit: Unit) -> list[ast.stmt]:
    """What comes in is bound by the signature, what goes out is returned."""
    events = [event for event in unit.events if not isinstance(event, Send | Recv)]
    results = [result.expression.tree for result in unit.results]
    returned = results[0] if len(results) == 1 else ast.Tuple(results, ast.Load())
    writing = _ForwardWriter()
    checks = [_build_check(unit.requirement)] if unit.requirement else []
    statements = [*checks, *writing.write_events(events), *writing.flush_before(returned)]
    returned = writing.nest(returned)
    match statements:
        case [*before, ast.Assign(targets=[ast.Name(id=variable)], value=value)] if (
            isinstance(returned, ast.Name) and returned.id == variable
        ):
            return [*before, ast.Return(value)]
    return [*statements, ast.Return(returned)]


def _build_check(bound: Requirement) -> ast.stmt:
    """`if x.shape[1:] != (24, 64): raise ValueError("reason")`."""
    template = "x.shape[first:] != sizes" if bound.first else "x.shape != sizes"
    names = {"x": name(bound.input), "first": literal(bound.first), "sizes": literal(bound.sizes)}
    return ast.If(expr(template, **names), [ast.Raise(call("ValueError", literal(bound.reason)))], [])


class _ForwardWriter:
    """Holds temporary values until the expression that reads them, if nothing is evaluated in between."""

    def __init__(self, layer: str = "layer") -> None:
        self._layer = expr(layer)  # of the run whose events are written
        self._held: list[tuple[str, ast.expr]] = []  # variables and values, in the order of evaluation

    def write_events(self, events: Iterable[Event]) -> Iterator[ast.stmt]:
        for event in _join_runs(events):
            if isinstance(event, Repeat):
                yield from self.flush()
                yield from _write_run(event)
                continue
            tree = _build_expression(event, self._layer)
            yield from self.flush_before(tree)
            tree = self.nest(tree)
            if isinstance(event, Compute | Call) and event.temporary:
                self._held.append((event.results[0].name, tree))
            else:
                yield _build_statement(event, tree)

    def flush_before(self, tree: ast.expr) -> Iterator[ast.stmt]:
        """Statements for the held values that cannot be written in an expression: all but a last few."""
        read = [node.id for node in _walk_in_order(tree) if isinstance(node, ast.Name)]
        kept = len(self._held)
        while kept and self._reads_in_order(read, kept - 1) and self._fits(tree, kept - 1):
            kept -= 1
        yield from self.flush(kept)

    def _reads_in_order(self, read: Sequence[str], first: int) -> bool:
        """Whether the held values from `first` on are read once each, in their order."""
        variables = [variable for variable, _ in self._held[first:]]
        return [each for each in read if each in variables] == variables

    def _fits(self, tree: ast.expr, number: int) -> bool:
        """Whether a held value is short enough for the expression, or is all that it reads."""
        return isinstance(tree, ast.Name) or len(ast.unparse(self._held[number][1])) < LONGEST

    def flush(self, count: int | None = None) -> Iterator[ast.stmt]:
        """Statements for the first held values, or for all."""
        gone = self._held[:count]
        del self._held[:count]
        yield from (assign(name(variable), tree) for variable, tree in gone)

    def nest(self, tree: ast.expr) -> ast.expr:
        """An expression with all held values in it."""
        tree = substitute(tree, dict(self._held))
        self._held.clear()
        return tree


def _join_runs(events: Iterable[Event]) -> Iterator[Event]:
    """Neighbouring runs of layers of several classes, with the same statements, are written as one loop."""
    joined: Repeat | None = None
    for event in events:
        if isinstance(event, Repeat) and joined and _forget_units(event) == _forget_units(joined):
            joined = replace(joined, count=joined.count + event.count)
            continue
        if joined:
            yield joined
        joined = event if isinstance(event, Repeat) else None
        if joined is None:
            yield event
    if joined:
        yield joined


def _forget_units(run: Repeat) -> list[Event]:
    return [replace(event, unit="") if isinstance(event, Call) else event for event in run.body]


def _write_run(run: Repeat) -> Iterator[ast.stmt]:
    """A loop over all layers, or over some of the list of them; a layer that is alone needs none."""
    layers, end = expr("layers.values()", layers=attribute(run.layers)), run.start + run.count
    if run.total == 1:
        yield assign(ast.Tuple([name("layer")], ast.Store()), layers)
        yield from _write_body(run, "layer")
        return
    if run.count < run.total:
        if run.start == 0:
            yield assign(name("layers"), expr("list(layers)", layers=layers))
        lower, upper = (f"{run.start or ''}", f"{end if end < run.total else ''}")
        layers = expr(f"layers[{lower}:{upper}]")
    alone = run.count == 1 < run.total
    body = _write_body(run, f"layers[{run.start}]" if alone else "layer")
    yield from body if alone else [ast.For(name("layer"), layers, body, [])]


def _write_body(run: Repeat, layer: str) -> list[ast.stmt]:
    writer = _ForwardWriter(layer)
    return [*writer.write_events(run.body), *writer.flush()]


def _build_expression(event: Event, layer: ast.expr) -> ast.expr:
    match event:
        case Compute(value=value) | Accumulate(value=value):
            return value.tree
        case Call(member=member, operands=operands):
            function = layer if member == "layer" else attribute(member)
            given = [operand.expression.tree for operand in operands]
            if not event.recomputed:
                return call(function, *given)
            return call("recompute", function, *given, **({"resend": literal(True)} if event.resends else {}))
        case Collective():
            return _build_collective(event)
    raise AssertionError(event)


def _build_collective(event: Collective) -> ast.expr:
    src = (
        {} if event.src.partial else {"src": expr(str(event.src))}
    )  # reductions take nothing but partial sums
    group = group_attribute(event.axis)
    return call(event.verb, event.operand.expression.tree, group, **src, dst=expr(str(event.dst)))


def _build_statement(event: Event, tree: ast.expr) -> ast.stmt:
    match event:
        case Accumulate(buffer=path):
            target = attribute(path)
            assert isinstance(target, ast.Attribute)
            addition = ast.AugAssign(target, ast.Add(), tree)
            return ast.If(expr("is_first_pass()"), [addition], []) if event.recomputed else addition
        case Collective(result=result):
            return assign(_build_target([result]), tree)
        case Compute(results=results) | Call(results=results):
            return assign(_build_target(results), tree)
    raise AssertionError(event)


def _build_target(values: Sequence[Value]) -> ast.expr:
    names = [name(value.name) for value in values]
    return names[0] if len(names) == 1 else ast.Tuple(names, ast.Store())


def _walk_in_order(tree: ast.AST) -> Iterator[ast.AST]:
    """The parts of an expression in the order in which they are evaluated."""
    for child in ast.iter_child_nodes(tree):
        yield from _walk_in_order(child)
    yield tree
