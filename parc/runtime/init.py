"""Initial values that no layout changes: each tensor is drawn whole from its own generator, then sliced.

The generator is keyed by (seed, the user's own name of the tensor, expert), so a value depends neither on the
order in which tensors are drawn nor on how many ranks there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from torch import nn

from .parameters import Declared, Recipe, Stack, declared, local_slices, share

ELEMENTWISE = ("normal_", "uniform_", "zero_", "fill_", "mul_", "add_", "erfinv_", "clamp_")
RANDOM = ("normal_", "uniform_")


def normal(mean: float, std: float) -> Recipe:
    return (("normal_", mean, std),)


def trunc_normal(mean: float, std: float, low: float, high: float) -> Recipe:
    return (("trunc_normal_", mean, std, low, high),)


def uniform(low: float, high: float) -> Recipe:
    return (("uniform_", low, high),)


def constant(value: float) -> Recipe:
    return (("fill_", value),)


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
    generator = torch.Generator().manual_seed(_key(seed, name, expert))
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


def initialise(module: nn.Module, seed: int) -> None:
    """Fills every parameter's local shard in place; holds one drawn tensor (or one expert's) at a time."""
    for name, parameter, names in original_names(module):
        local = parameter.to_local().detach()
        below_stack = names != (name,)
        if not (parameter.experts or below_stack):
            full = draw(seed, name, tuple(parameter.shape), local.dtype, parameter.init)
            local.copy_(share(parameter, full))
            continue
        mine = local_slices(parameter)[0]
        for row, expert in enumerate(range(mine.start, mine.stop)):
            # the children of a list have names of their own, the slices of a stacked tensor share one
            own, key = (names[expert], None) if below_stack else (name, expert)
            full = draw(seed, own, tuple(parameter.shape[1:]), local.dtype, parameter.init, key)
            local[row].copy_(share(parameter, full, front=1))


def original_names(module: nn.Module) -> Iterator[tuple[str, Declared, tuple[str, ...]]]:
    """(name here, parameter, names in the user's model): one name, or one an expert below a `Stack`."""
    stacks = [path for path, child in module.named_modules() if isinstance(child, Stack)]
    for name, parameter in declared(module):
        stack = next((path for path in stacks if name.startswith(path + ".")), None)
        if stack is None:
            yield name, parameter, (name,)
        else:
            rest = name.removeprefix(stack + ".")
            yield name, parameter, tuple(f"{stack}.{expert}.{rest}" for expert in range(parameter.shape[0]))


def _key(seed: int, name: str, expert: int | None) -> int:
    """A seed of 32 bits, all that torch's CPU generator takes in.

    Experts count up from one hash, so that no two experts of a tensor can meet on the same stream.
    """
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    offset = 0 if expert is None else expert + 1
    return (int.from_bytes(digest[:4], "little") + offset) % 2**32
