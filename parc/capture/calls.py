"""Calls of submodules, as values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

Spec = tuple[torch.Size, torch.dtype]


@dataclass(frozen=True)
class Call:
    """One call of one module: its arguments and results flattened, tensors by shape and dtype alone."""

    module: nn.Module
    arguments: tuple[Any, ...]  # flat; a Spec where a tensor stands
    structure: pytree.TreeSpec  # of (args, kwargs)
    results: tuple[Any, ...]
    result_structure: pytree.TreeSpec

    @property
    def tensors_in(self) -> tuple[Spec, ...]:
        """The tensors among the arguments."""
        return tuple(leaf for leaf in self.arguments if is_spec(leaf))

    @property
    def tensors_out(self) -> tuple[Spec, ...]:
        """The tensors among the results."""
        return tuple(leaf for leaf in self.results if is_spec(leaf))

    def make_results(self, tensors: Iterable[Tensor] | None = None) -> Any:
        """What the call returned, with these tensors, or else with new ones on the meta device."""
        if tensors is None:
            tensors = (torch.empty(shape, dtype=dtype, device="meta") for shape, dtype in self.tensors_out)
        left = iter(tensors)
        leaves = [next(left) if is_spec(leaf) else leaf for leaf in self.results]
        return pytree.tree_unflatten(leaves, self.result_structure)


@dataclass(frozen=True)
class ExpertsCall:
    """How a module of experts is called: where each role stands among the arguments."""

    tokens: torch.Size
    roles: tuple[int | str, int | str, int | str]  # of tokens, indices, weights: a position, or a keyword
    choices: int = 2  # experts of a token that it is tried with

    def bind(self, *values: Tensor) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """Tokens, indices and weights as the module takes them: by position, and by keyword."""
        placed = dict(zip(self.roles, values, strict=True))
        positions = sorted(role for role in placed if isinstance(role, int))
        return tuple(placed[p] for p in positions), {r: v for r, v in placed.items() if isinstance(r, str)}


def is_spec(leaf: object) -> bool:
    """Whether a leaf stands for a tensor."""
    return isinstance(leaf, tuple) and len(leaf) == 2 and isinstance(leaf[0], torch.Size)


def to_specs(tree: object) -> tuple[tuple[Any, ...], pytree.TreeSpec]:
    """A tree's leaves, with a Spec for every tensor, and its structure."""
    leaves, structure = pytree.tree_flatten(tree)
    return tuple((x.shape, x.dtype) if isinstance(x, Tensor) else x for x in leaves), structure


class NotExperts(ValueError):
    """A module of experts is called with something else than tokens, indices and weights."""

    def __init__(self, path: str, given: str) -> None:
        super().__init__(f"experts take tokens (N, H), indices (N, K) and weights (N, K), not {given}")
        self.path = path


def find_roles(path: str, given: Mapping[int | str, object]) -> tuple[int | str, int | str, int | str]:
    """Which argument is tokens, which indices, which weights, by what they are.

    Raises NotExperts where these do not tell the three apart.
    """
    tensors = {key: each for key, each in given.items() if isinstance(each, Tensor)}
    indices = [key for key, each in tensors.items() if not each.is_floating_point()]
    floats = [key for key, each in tensors.items() if each.is_floating_point()]
    if len(given) == 3 and len(indices) == 1 and len(floats) == 2:
        weights = [key for key in floats if tensors[key].shape == tensors[indices[0]].shape]
        tokens = [key for key in floats if key not in weights]
        if len(weights) == 1:
            return tokens[0], indices[0], weights[0]
    raise NotExperts(path, ", ".join(map(_describe, given.values())))


def _describe(argument: object) -> str:
    if isinstance(argument, Tensor):
        return f"{argument.dtype} {tuple(argument.shape)}"
    return f"`{type(argument).__name__}`"
