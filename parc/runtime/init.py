"""Initial values that no layout changes: each tensor is drawn whole from its own generator, then sliced.

The generator is keyed by (seed, the user's own name of the tensor, expert), so a value depends neither on the
order in which tensors are drawn nor on how many ranks there are. Values that are no such draws are read from
a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from .placement import PlacedParameter, Recipe
from .stored_values import open_stored_values

ELEMENTWISE = ("normal_", "uniform_", "zero_", "fill_", "mul_", "add_", "erfinv_", "clamp_")
RANDOM = ("normal_", "uniform_")


def normal(mean: float = 0.0, std: float = 1.0) -> Recipe:
    return (("normal_", mean, std),)


def trunc_normal(mean: float = 0.0, std: float = 1.0, low: float = -2.0, high: float = 2.0) -> Recipe:
    """A normal distribution between `low` and `high`, which are values and no multiples of `std`."""
    return (("trunc_normal_", mean, std, low, high),)


def uniform(low: float, high: float) -> Recipe:
    return (("uniform_", low, high),)


def constant(value: float) -> Recipe:
    return (("fill_", value),)


def scaled(recipe: Recipe, factor: float) -> Recipe:
    """What `recipe` draws, times a factor."""
    return (*recipe, ("mul_", factor))


def with_zero_row(recipe: Recipe, row: int) -> Recipe:
    """What `recipe` draws, with zeros in one row: that of the padding of an embedding."""
    return (*recipe, ("row_zero", row))


def drawn_as(name: str, recipe: Recipe) -> Recipe:
    """What `recipe` draws for the parameter `name`: its copies begin with the same numbers."""
    return (("draw_as", name), *recipe)


def stored() -> Recipe:
    """The value of the model's constructor, which `initial_values.safetensors` has."""
    return (("stored",),)


def draw(
    seed: int,
    name: str,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    recipe: Recipe,
    expert: int | None = None,
) -> torch.Tensor:
    """The initial value of one tensor, or of one expert's slice of it: (`shape`), on the CPU.

    It is drawn in float32 whatever `dtype` is, so that float32 and float64 runs begin with the same numbers.
    """
    if recipe == stored():
        return open_stored_values().read(name, expert).to(dtype)
    if recipe[0][0] == "draw_as":
        return draw(seed, str(recipe[0][1]), shape, dtype, recipe[1:], expert)
    generator = torch.Generator().manual_seed(_derive_seed(seed, name, expert))
    value = torch.empty(shape, dtype=torch.float32, device="cpu")
    with torch.no_grad():
        for call, *arguments in recipe:
            if call in ELEMENTWISE:
                random = {"generator": generator} if call in RANDOM else {}
                getattr(value, str(call))(*arguments, **random)
            elif call in ("trunc_normal_", "orthogonal_"):
                getattr(nn.init, str(call))(value, *arguments, generator=generator)
            elif call == "row_zero":
                value[int(arguments[0])].zero_()
            else:
                raise ValueError(f"{name}: unknown initial value {call!r}")
    return value.to(dtype)


def initialize(parameters: Sequence[PlacedParameter], seed: int) -> None:
    """Fills masters and tensors in place; holds one whole tensor, or that of one expert, at a time."""
    for parameter in parameters:
        placement, dtype = parameter.placement, parameter.master.dtype
        if not (placement.experts or placement.stack):
            whole = draw(seed, parameter.name, placement.shape, dtype, placement.init)
            parameter.set_elements(parameter.select_share(whole))
            continue
        names, size = parameter.user_names, parameter.tensor.numel() // len(parameter.rows)
        for row, expert in enumerate(parameter.rows):
            # the children of a list have names of their own, the slices of a stacked tensor share one
            name, key = (names[expert], None) if placement.stack else (parameter.name, expert)
            whole = draw(seed, name, placement.shape[1:], dtype, placement.init, key)
            parameter.set_elements(parameter.select_share(whole, front=1), row * size)


def fill_buffers(stages: Iterable[nn.Module]) -> None:
    """Gives buffers the values of the model's constructor, where these are stored."""
    values = open_stored_values()
    for stage in stages:
        for name, buffer in stage.named_buffers():
            if name in values.entries:
                buffer.copy_(values.read(name))


def _derive_seed(seed: int, name: str, expert: int | None) -> int:
    """A seed of 32 bits, all that torch's CPU generator takes in.

    Experts count up from one hash, so that no two experts of a tensor can meet on the same stream.
    """
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    offset = 0 if expert is None else expert + 1
    return (int.from_bytes(digest[:4], "little") + offset) % 2**32
