"""Which sizes in the graphs of a model depend on the batch: two captures, compared node by node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from torch import Tensor, fx

from parc.capture.graph import Body, get_name, get_user_name
from parc.capture.sizes import BatchSize, Comparison, Size, vary_batch
from parc.capture.source_lines import describe_fault, find_lines
from parc.capture.whole_slices import insert_whole_slices


class Symbols(NamedTuple):
    """How the sizes of a node depend on the batch."""

    sizes: Any  # a Size for every dim of its tensor, or a tuple of them for every tensor of its tuple
    args: Any  # of the node, with a Size in place of every number that depends on the batch
    kwargs: Any


@dataclass(frozen=True)
class FixedSizes:
    """A module that is bound to the batch of its capture."""

    path: str  # in the user's model; "" for the model itself
    what: Literal["length", "sequences and length"]
    reason: str


def find_symbols(
    root: Body, batch: BatchSize, capture_at: Callable[[BatchSize], Body]
) -> tuple[FixedSizes, ...]:
    """Note in every node of a model's bodies how its sizes depend on the batch, as `meta["symbols"]`.

    The model is captured at another batch. One that refuses another length may still take another number of
    sequences. What is bound to the batch all the same is returned, and has constants alone.
    """
    both = vary_batch(batch)
    try:
        return _note_symbols(root, capture_at(both.second), both)
    except Exception as fault:  # noqa: BLE001 - whatever the user's model raises
        reason = describe_fault(fault)
    sequences = Comparison(batch, replace(both.second, length=batch.length))
    try:
        found = _note_symbols(root, capture_at(sequences.second), sequences)
        return FixedSizes("", "length", reason), *found
    except Exception:  # noqa: BLE001 - likewise
        _note_symbols(root, root, both)
        return (FixedSizes("", "sequences and length", reason),)


class _NotExplained(Exception):
    """Why the sizes of a module hold for the batch of its capture alone."""


def _note_symbols(root: Body, other: Body, comparison: Comparison) -> tuple[FixedSizes, ...]:
    """Compare `root`, captured at the first batch of a comparison, with `other`, captured at the second."""
    pairs: dict[Body, dict[Body | None, None]] = {}
    _pair_bodies(root, other, pairs)
    fixed = []
    for body, others in pairs.items():
        try:
            symbols, *more = [_compare(body, each, comparison) for each in others]
            if any(each != symbols for each in more):
                raise _NotExplained("it is called with sizes that agree for this batch alone")
        except _NotExplained as reason:
            fixed.append(FixedSizes(get_user_name(body.path), "sequences and length", str(reason)))
            symbols = _compare(body, body, comparison)  # constants
        for node, each in zip(body.graph.nodes, symbols, strict=True):
            node.meta["symbols"] = each
    return tuple(fixed)


def _pair_bodies(body: Body, other: Body | None, pairs: dict[Body, dict[Body | None, None]]) -> None:
    """Find for every body those of the other capture at the same paths; None where there is none."""
    known = pairs.setdefault(body, {})
    if other not in known:
        known[other] = None
        for name, child in body.children.items():
            _pair_bodies(child, other.children.get(name) if other else None, pairs)


def _compare(body: Body, other: Body | None, comparison: Comparison) -> list[Symbols]:
    """The symbols of every node of a body. Raises _NotExplained."""
    if other:
        insert_whole_slices(body.graph, other.graph, comparison)
    nodes, others = list(body.graph.nodes), list(other.graph.nodes) if other else []
    if [(node.op, node.target) for node in nodes] != [(node.op, node.target) for node in others]:
        raise _NotExplained(f"it computes other things for {comparison.second}")
    same = dict(zip(nodes, others, strict=True))
    return [_SizeExplainer(node, same, comparison).explain() for node in nodes]


class _SizeExplainer:
    """Explains the sizes of one node by those of the node of the other capture at its place."""

    def __init__(self, node: fx.Node, same: Mapping[fx.Node, fx.Node], comparison: Comparison) -> None:
        self._node, self._same, self._comparison = node, same, comparison

    def explain(self) -> Symbols:
        node, other = self._node, self._same[self._node]
        sizes = self._explain_sizes(node.meta.get("val"), other.meta.get("val"))
        args, kwargs = map(self._explain_argument, (node.args, node.kwargs), (other.args, other.kwargs))
        return Symbols(sizes, args, kwargs)

    def _explain_sizes(self, first: object, second: object) -> Any:
        """The sizes of a value: of a tensor, or of each tensor of a tuple."""
        match first, second:
            case Tensor(), Tensor() if first.ndim == second.ndim:
                return tuple(map(self._explain_size, first.shape, second.shape))
            case [*ones], [*others] if len(ones) == len(others):
                return tuple(map(self._explain_sizes, ones, others))
            case None, None:
                return ()
        raise self._refuse(first, second)

    def _explain_argument(self, first: Any, second: Any) -> Any:
        """An argument of the node, with a Size in place of every number that depends on the batch."""
        match first, second:
            case fx.Node(), fx.Node() if second is self._same[first]:
                return first
            case [*ones], [*others] if len(ones) == len(others):
                return tuple(map(self._explain_argument, ones, others))
            case dict(), dict() if first.keys() == second.keys():
                return {key: self._explain_argument(first[key], second[key]) for key in first}
            case int(), int() if not isinstance(first, bool):
                size = self._explain_size(first, second)
                return first if size.is_constant else size
        if repr(first) == repr(second):  # as numbers are that do not equal themselves
            return first
        raise self._refuse(first, second)

    def _explain_size(self, first: int, second: int) -> Size:
        size = self._comparison.explain(first, second)
        if size is None:
            raise self._refuse(first, second)
        return size

    def _refuse(self, first: object, second: object) -> _NotExplained:
        lines = find_lines(self._node)
        where = f" ({lines[-1].file.name}, line {lines[-1].number})" if lines else ""
        batches = self._comparison.first, self._comparison.second
        values = zip((first, second), batches, strict=True)
        listed = " and ".join(f"{value} for {batch}" for value, batch in values)
        return _NotExplained(f"`{get_name(self._node).split('::')[-1]}`{where} has {listed}")
