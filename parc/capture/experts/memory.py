"""Memory for the parameters of a module that was built without any, while it is run."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from parc.capture.experts.bank import Bank

_DRAWN = 1_000_003  # random numbers, repeated: of a prime number no two rows begin at the same one
_STEP = 64  # elements: rows stay aligned, as grouped products demand


@contextmanager
def lend_memory(module: nn.Module, bank: Bank) -> Iterator[None]:
    """Give every parameter random values, and every buffer zeros, for the time of a run.

    The values of the experts overlap in memory: those of each begin a few elements behind those of the one
    before. So all experts differ, and take the memory of one.
    """
    kept = [(each, dict(each._parameters), dict(each._buffers)) for each in module.modules()]
    lent = _allocate(module, bank)
    try:
        for each, parameters, buffers in kept:
            each._parameters.update({name: lent[id(p)] for name, p in parameters.items() if p is not None})
            each._buffers.update(
                {n: torch.zeros_like(b, device="cpu") for n, b in buffers.items() if b is not None}
            )
        yield
    finally:
        for each, parameters, buffers in kept:
            each._parameters.update(parameters)
            each._buffers.update(buffers)


def _allocate(module: nn.Module, bank: Bank) -> dict[int, nn.Parameter]:
    """Parameters with memory, by the id of those without. Values of (.., n) have the variance 1 / n."""
    named = list(module.named_parameters())
    alike: dict[tuple[torch.dtype, int], dict[str, int]] = defaultdict(dict)  # type, n: elements by role
    for name, parameter in named:
        number, role = bank.locate_expert(name)
        shape = parameter.shape if number is not None else parameter.shape[1:]
        alike[parameter.dtype, _count_inputs(parameter)][role] = math.prod(shape)
    generator = torch.Generator().manual_seed(0)
    memory = {}
    for (dtype, last), roles in alike.items():
        size = max(roles.values()) + len(roles) * bank.count * _STEP
        drawn = (torch.randn(min(size, _DRAWN), generator=generator) / last**0.5).to(dtype)
        memory[dtype, last] = drawn.repeat(-(-size // len(drawn)))
    lent = {}
    for name, parameter in named:
        number, role = bank.locate_expert(name)
        key = parameter.dtype, _count_inputs(parameter)
        start = (list(alike[key]).index(role) * bank.count + (number or 0)) * _STEP
        stride = parameter.stride() if number is not None else (_STEP, *parameter.stride()[1:])
        values = memory[key].as_strided(parameter.shape, stride, start)
        lent[id(parameter)] = nn.Parameter(values, requires_grad=False)
    return lent


def _count_inputs(parameter: Tensor) -> int:
    return parameter.shape[-1] if parameter.ndim else 1
