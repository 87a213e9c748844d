"""Running a module whose routing is fixed, and keeping the arithmetic on rows alone.

What depends on the routing only is computed and forgotten. What moves all rows in order, adds them to zeros,
or weights them with 1 leaves them as they are.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
_ASKS = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select")  # values, not only tensors
_SHAPE_ALONE = (
    "zeros_like",
    "new_zeros",
    "ones_like",
    "full_like",
    "empty_like",
    "new_full",
    "new_empty",
    "new_ones",
)
_RESHAPES = (
    *("_to_copy", "clone", "expand", "view", "_unsafe_view", "alias", "detach", "repeat_interleave"),
    *("unsqueeze", "squeeze", "select", "sum"),
)


class Unfoldable(Exception):
    """The arithmetic of one expert cannot be told from its routing. `node` carries the line, if known."""

    def __init__(self, reason: str, node: fx.Node | None) -> None:
        super().__init__(reason)
        self.reason, self.node = reason, node


class Folding(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Traces what depends on the tensors it is given; `meta["val"]` is a node's value in the run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = fx.Graph()
        self.weighted: fx.Node | None = None  # the first multiplication by what the run knows to be 1
        self._nodes: dict[int, fx.Node] = {}
        self._alive: list[Tensor] = []  # no id is met twice

    def input(self, tensor: Tensor, name: str) -> fx.Node:
        node = self.graph.placeholder(name)
        node.meta["val"] = tensor
        self._track(tensor, node)
        return node

    def output(self, tensor: Tensor) -> fx.Graph:
        node = self._nodes.get(id(tensor))
        if node is None:
            raise Unfoldable("its result does not depend on its tokens", None)
        self.graph.output((node,))
        self.graph.eliminate_dead_code()
        return self.graph

    def _track(self, tensor: Tensor, node: fx.Node) -> None:
        self._nodes[id(tensor)] = node
        self._alive.append(tensor)

    def _node(self, value: object) -> fx.Node | None:
        return self._nodes.get(id(value)) if isinstance(value, Tensor) else None

    def _as_nodes(self, argument: Any) -> Any:
        if isinstance(argument, (list, tuple)):
            return [self._as_nodes(item) for item in argument]
        return self._node(argument) if isinstance(argument, Tensor) else argument

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        leaves = _tensors((*args, *kwargs.values()))
        name = func._schema.name.split("::")[1]
        if name in _SHAPE_ALONE or not any(self._node(leaf) for leaf in leaves):
            return func(*args, **kwargs)
        if name in _ASKS:
            asked = _located(fx.Graph().call_function(func))
            raise Unfoldable("what it does depends on the values of its tokens", asked)
        same = self._same(name.rstrip("_"), args)
        if same is not None and name == "mul" and self.weighted is None:
            self.weighted = _located(fx.Graph().call_function(func))
        value = func(*args, **kwargs)
        if isinstance(value, Tensor) and value.numel() == 0:
            return value
        kept = self._node(same) if same is not None else self._kept(name, args, value)
        if same is not None and kept is None:
            return value  # rows that nobody has added to yet
        if kept is not None and isinstance(value, Tensor):
            self._track(value, kept)
            return value
        if name in ("split", "split_with_sizes") and self._dealt(args[0], value):
            return value
        self._record(func, args, kwargs, leaves, value)
        return value

    def _same(self, name: str, args: Sequence[Any]) -> Tensor | None:
        """The operand that an operation only weights with 1, moves in order, or adds to zeros."""
        if name in ("mul", "div", "add", "sub") and len(args) > 1:
            neutral = 1 if name in ("mul", "div") else 0
            turned = ((args[1], args[0]),) if name in ("mul", "add") else ()
            for mine, other in ((args[0], args[1]), *turned):
                if (
                    self._node(mine)
                    and not self._node(other)
                    and _all(other, neutral)
                    and _covers(mine, other)
                ):
                    return _tensor(mine)
        if name == "index" and len(args[1]) == 1 and _every_row(args[1][0], args[0]):
            return _tensor(args[0])
        if name == "index_select" and args[1] == 0 and _every_row(args[2], args[0]):
            return _tensor(args[0])
        if name == "cat":
            filled = [part for part in args[0] if part.numel()]
            return filled[0] if len(filled) == 1 else None
        if name in ("index_add", "index_copy") and args[1] == 0:
            return self._put(args[0], args[2], args[3], adds=name == "index_add")
        if name == "index_put" and len(args[1]) == 1:
            return self._put(args[0], args[1][0], args[2], adds=len(args) > 3 and args[3])
        return None

    def _dealt(self, rows: Tensor, parts: Sequence[Tensor]) -> bool:
        """Whether rows are split among experts, of which one gets them all."""
        node = self._node(rows)
        whole = [part for part in parts if part.shape == rows.shape]
        if node is None or len(whole) != 1 or any(part.numel() for part in parts if part is not whole[0]):
            return False
        self._track(whole[0], node)
        return True

    def _put(self, into: Tensor, rows: Tensor, values: Tensor, adds: bool) -> Tensor | None:
        if rows.numel() == 0 or (rows.dtype == torch.bool and not rows.any()):
            return into
        if self._node(values) is None or into.shape != values.shape or not _every_row(rows, values):
            return None
        return values if not adds or (self._node(into) is None and _all(into, 0)) else None

    def _kept(self, name: str, args: Sequence[Any], value: Any) -> fx.Node | None:
        """The operand's node where only dims of 1, one for the single choice, come or go."""
        first = self._node(args[0])
        if name in _RESHAPES and first is not None and isinstance(value, Tensor):
            same = _without_ones(args[0]) == _without_ones(value) and args[0].dtype == value.dtype
            return first if same else None
        return None

    def _record(self, func: Any, args: Any, kwargs: Any, leaves: Sequence[Tensor], value: Any) -> None:
        nodes = (
            tuple(map(self._as_nodes, args)),
            {name: self._as_nodes(value) for name, value in kwargs.items()},
        )
        new = _located(self.graph.call_function(func, *nodes))
        new.meta["val"] = value
        if func is aten._grouped_mm.default and len(args) + len(kwargs) == 3:
            ends = new.meta["ends"] = args[2] if len(args) > 2 else kwargs["offs"]
            leaves = [leaf for leaf in leaves if leaf is not ends]
        if any(_shape_of(self._node(leaf)) not in (None, leaf.shape) for leaf in leaves):
            raise Unfoldable(f"`{func._schema.name}` acts on rows of another shape than the tokens'", new)
        if func._schema.is_mutable or any(self._node(leaf) is None for leaf in leaves):
            raise Unfoldable(f"`{func._schema.name}` mixes rows with what depends on the routing", new)
        if isinstance(value, Tensor):
            self._track(value, new)
            return
        if not isinstance(value, (list, tuple)):  # a number, read to branch on it
            raise Unfoldable("what it does depends on the values of its tokens", new)
        for place, part in enumerate(value):
            item = self.graph.call_function(operator.getitem, (new, place))
            item.meta["val"] = part
            self._track(part, item)


def _tensors(arguments: Sequence[Any]) -> list[Tensor]:
    """Operators take tensors, and lists of them, and nothing deeper."""
    found: list[Tensor] = []
    for argument in arguments:
        if isinstance(argument, Tensor):
            found.append(argument)
        elif isinstance(argument, (list, tuple)):
            found += [item for item in argument if isinstance(item, Tensor)]
    return found


def _located(node: fx.Node) -> fx.Node:
    """With the lines that are being run, callers first: no more of them than `lines_of` reads."""
    lines = []
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        lines.append(f'File "{frame.f_code.co_filename}", line {frame.f_lineno}')
        frame = frame.f_back
    node.meta["stack_trace"] = "\n".join(reversed(lines))
    return node


def _shape_of(node: fx.Node | None) -> torch.Size | None:
    return None if node is None else node.meta["val"].shape


def _without_ones(tensor: Tensor) -> list[int]:
    return [size for size in tensor.shape if size != 1]


def _tensor(value: object) -> Tensor | None:
    return value if isinstance(value, Tensor) else None


def _all(value: object, number: float) -> bool:
    if isinstance(value, Tensor):
        return value.numel() > 0 and bool((value == number).all())
    return isinstance(value, (int, float)) and value == number


def _covers(mine: Tensor, other: object) -> bool:
    """Whether the result has the shape of `mine`."""
    return not isinstance(other, Tensor) or torch.broadcast_shapes(mine.shape, other.shape) == mine.shape  # type: ignore[no-untyped-call]


def _every_row(rows: object, of: Tensor) -> bool:
    """Whether an index or a mask picks every row in order."""
    if not isinstance(rows, Tensor) or rows.ndim != 1 or rows.numel() != of.shape[0]:
        return False
    return bool(rows.all()) if rows.dtype == torch.bool else torch.equal(rows, torch.arange(len(rows)))
