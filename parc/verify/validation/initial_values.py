"""Initial values of a program against those of the user's constructor: alike, as far as chance allows."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Set

import torch
from torch import Tensor

FEW = 16  # entries: the moments of fewer say nothing
SPREAD = 8.0  # standard deviations of a moment, which is nearly normal for more entries
ZEROS = 2**-20  # of all entries, at most: torch draws one of 2^24 random numbers, of which one becomes 0
NOISE_FREE = 1e-6  # relative: a constant may be computed in float32 by one of the two


def find_other_values(
    given: Mapping[str, Tensor],
    drawn: Mapping[str, Tensor],
    constant: Set[str],
    stored: Set[str],
) -> Iterator[tuple[str, str]]:
    """Parameters whose drawn values are not of the kind of the given ones, and how they differ.

    `given` are those of the constructor, `drawn` those of the program, both whole, by the user's names, and
    drawn several times: (draws, ..). What `constant` names is not drawn at random; what `stored` names is
    taken from the constructor.
    """
    for name, expected in given.items():
        values = expected.double(), drawn[name].double()
        if name in stored:
            if not torch.equal(*values):
                yield name, "has other values each time that it is built: seed what they are drawn from"
        elif difference := _compare_constants(*values) if name in constant else _compare_moments(*values):
            yield name, difference
    for first, name in _list_copies(given):
        if not torch.equal(drawn[first], drawn[name]):
            yield name, f"begins as a copy of `{first}`, and is drawn afresh"
    for first, name in _list_copies(drawn):
        if not torch.equal(given[first], given[name]):
            yield name, f"is drawn as a copy of `{first}`, and begins otherwise"


def _compare_constants(given: Tensor, drawn: Tensor) -> str | None:
    if torch.allclose(given, drawn, rtol=NOISE_FREE, atol=0):
        return None
    return f"begins with {float(given.mean()):.4g}, and with {float(drawn.mean()):.4g} as it is drawn"


def _compare_moments(given: Tensor, drawn: Tensor) -> str | None:
    set_to_zero = [(values == 0).all(dim=0) for values in (given, drawn)]  # in every draw
    zeros = [int((values == 0).sum()) for values in (given, drawn)]
    if not torch.equal(*set_to_zero) or abs(zeros[0] - zeros[1]) > FEW + ZEROS * given.numel():
        return f"has {zeros[0]:,} zeros, and other ones ({zeros[1]:,}) as it is drawn"
    count = given.numel()
    if count < FEW:
        return None
    spreads = [float(values.std(correction=0)) for values in (given, drawn)]
    means = [float(values.mean()) for values in (given, drawn)]
    if min(spreads) == 0:
        return None if max(spreads) == 0 else "is random on one side alone"
    if abs(means[0] - means[1]) > SPREAD * max(spreads) * math.sqrt(2 / count):
        return f"has a mean of {means[0]:.4g}, and of {means[1]:.4g} as it is drawn"
    if abs(math.log(spreads[0] / spreads[1])) > SPREAD * math.sqrt(1 / count):
        return f"has a standard deviation of {spreads[0]:.4g}, and of {spreads[1]:.4g} as it is drawn"
    return None


def _list_copies(given: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    """Pairs of names of parameters that begin with the same random values, each with the first of them."""
    names: dict[tuple[torch.Size, bytes], list[str]] = defaultdict(list)
    for name, values in given.items():
        if values.numel() > 1 and float(values.double().std()) > 0:
            names[values.shape, values.double().numpy().tobytes()].append(name)
    yield from ((first, name) for first, *copies in names.values() for name in copies)
