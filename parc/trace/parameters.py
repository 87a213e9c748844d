"""The elements of parameters on one rank, and the buckets that their gradients are summed in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from math import prod

from parc.ir.program import Parameter


def count_local_elements(parameter: Parameter, sizes: Mapping[str, int]) -> int:
    """Elements of a parameter on one rank."""
    return prod(parameter.shape) // prod(sizes[axis] for axis in parameter.sharded)


def bucket_gradients(
    parameters: Iterable[Parameter], sizes: Mapping[str, int], most: int
) -> Iterator[tuple[tuple[str, ...], str, int]]:
    """(axes, dtype, elements) of each sum of gradients: those over the same axes together, up to `most`."""
    pending: dict[tuple[tuple[str, ...], str], list[int]] = defaultdict(list)
    for parameter in parameters:
        if axes := tuple(axis for axis in sorted(parameter.reduce) if sizes[axis] > 1):
            pending[axes, parameter.dtype].append(count_local_elements(parameter, sizes))
    for (axes, dtype), counts in pending.items():
        held = 0
        for count in counts:
            if held and held + count > most:
                yield axes, dtype, held
                held = 0
            held += count
        yield axes, dtype, held
