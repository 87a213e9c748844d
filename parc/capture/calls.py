"""Which submodules a model calls, with what: one run on the meta device, before anything is captured.

Each call of a submodule becomes one opaque operator in its caller's graph, so every distinct module is
captured once and the emitted program keeps the user's own structure. Containers of the layers are the
exception: they are captured as part of the whole, since a pipeline cuts there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from parc.capture.custom_ops import call, experts

Spec = tuple[torch.Size, torch.dtype]


@dataclass(frozen=True)
class Call:
    """One call of one submodule: its arguments and results flattened, tensors by shape and dtype alone."""

    path: str
    module: nn.Module
    arguments: tuple[Any, ...]  # flat; a Spec where a tensor stands
    structure: pytree.TreeSpec  # of (args, kwargs)
    results: tuple[Any, ...]
    result_structure: pytree.TreeSpec

    @property
    def tensors_out(self) -> tuple[Spec, ...]:
        """The tensors among the results."""
        return tuple(leaf for leaf in self.results if is_spec(leaf))


@dataclass(frozen=True)
class ExpertsCall:
    """How a module of experts is called: where each role stands among the arguments."""

    tokens: torch.Size
    roles: tuple[int | str, int | str, int | str]  # of tokens, indices, weights: a position, or a keyword

    def arguments(self, *values: Tensor) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """Tokens, indices and weights as the module takes them: by position, and by keyword."""
        placed = dict(zip(self.roles, values, strict=True))
        positions = sorted(role for role in placed if isinstance(role, int))
        return tuple(placed[p] for p in positions), {r: v for r, v in placed.items() if isinstance(r, str)}


def is_spec(leaf: object) -> bool:
    """Whether a leaf stands for a tensor."""
    return isinstance(leaf, tuple) and len(leaf) == 2 and isinstance(leaf[0], torch.Size)


def is_boundary(module: nn.Module) -> bool:
    """The user's own modules are; torch's layers and containers are part of the module that calls them."""
    return not type(module).__module__.startswith("torch.")


def as_specs(tree: object) -> tuple[tuple[Any, ...], pytree.TreeSpec]:
    """A tree's leaves, with a Spec for every tensor, and its structure."""
    leaves, structure = pytree.tree_flatten(tree)
    return tuple((x.shape, x.dtype) if isinstance(x, Tensor) else x for x in leaves), structure


def layers_of(model: nn.Module, count: int | None) -> str:
    """The path of the list of layers: the outermost with `count` entries, else the longest; "" for none."""
    lengths = {path: len(m) for path, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m)}
    fitting = [path for path, length in lengths.items() if length == count]
    return fitting[0] if fitting else max(lengths, key=lengths.__getitem__, default="")


def inlined(layers: str) -> set[str]:
    """The paths of the modules that contain the list of layers, the model itself included."""
    parts = layers.split(".")[:-1] if layers else []
    return {".".join(parts[:depth]) for depth in range(len(parts) + 1)}


class Calls:
    """Patches `forward` of every boundary: first to record its calls, then to stand for them in a capture."""

    def __init__(self, model: nn.Module, layers: str, experts_paths: set[str]) -> None:
        self.made: dict[str, list[Call]] = defaultdict(list)
        self.experts: dict[str, ExpertsCall] = {}
        self._whole = inlined(layers)
        self._experts = experts_paths
        self.boundaries = {
            path: module
            for path, module in model.named_modules()
            if path not in self._whole
            and (is_boundary(module) or path in experts_paths)
            and not any(path.startswith(e + ".") for e in experts_paths)
        }

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Every call of a boundary is noted in `made`."""
        with self._patched(self._record):
            yield

    @contextmanager
    def standing_in(self, around: nn.Module | None) -> Iterator[None]:
        """Every boundary but `around` itself becomes one operator."""
        with self._patched(self._stand_in, leave=around):
            yield

    @contextmanager
    def _patched(
        self,
        stub: Callable[[str, nn.Module, Callable[..., Any]], Callable[..., Any]],
        leave: nn.Module | None = None,
    ) -> Iterator[None]:
        patched = []
        try:
            for path, module in self.boundaries.items():
                if module is leave:
                    continue
                chosen = (
                    self._experts_operator(path)
                    if path in self._experts
                    else stub(path, module, module.forward)
                )
                module.forward = chosen
                patched.append(module)
            yield
        finally:
            for module in patched:
                del module.forward

    def _experts_operator(self, path: str) -> Callable[..., Tensor]:
        def forward(*args: Tensor, **kwargs: Tensor) -> Tensor:
            given: dict[int | str, Tensor] = dict(enumerate(args))
            given.update(kwargs)
            roles = by_role(given)
            tokens, indices, weights = (given[role] for role in roles)
            self.experts[path] = ExpertsCall(tokens.shape, roles)
            result: Tensor = experts(tokens, indices, weights, path)
            return result

        return forward

    def _record(self, path: str, module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            out = forward(*args, **kwargs)
            self.made[path].append(Call(path, module, *as_specs((args, kwargs)), *as_specs(out)))
            return out

        return recorded

    def _stand_in(self, path: str, module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        def stands_in(*args: Any, **kwargs: Any) -> Any:
            leaves, _ = pytree.tree_flatten((args, kwargs))
            made = self.made[path][0]
            tensors = iter(call([x for x in leaves if isinstance(x, Tensor)], path))
            results = [next(tensors) if is_spec(leaf) else leaf for leaf in made.results]
            return pytree.tree_unflatten(results, made.result_structure)

        return stands_in


def by_role(given: dict[int | str, Tensor]) -> tuple[int | str, int | str, int | str]:
    """Which argument is tokens, which indices, which weights, by what they are.

    Raises ValueError where the three cannot be told apart.
    """
    indices = [key for key, t in given.items() if not t.is_floating_point()]
    floats = [key for key, t in given.items() if t.is_floating_point()]
    if len(indices) == 1 and len(floats) == 2:
        weights = [key for key in floats if given[key].shape == given[indices[0]].shape]
        tokens = [key for key in floats if key not in weights]
        if len(weights) == 1:
            return tokens[0], indices[0], weights[0]
    shapes = ", ".join(f"{t.dtype} {tuple(t.shape)}" for t in given.values())
    raise ValueError(f"experts take tokens (N, H), indices (N, K) and weights (N, K), not {shapes}")
