"""Sizes that depend on the batch: those of tensors, and those among the arguments of operations.

A model is captured at two batches. A size that is the same in both is a constant of the model. One that
differs is explained as a product of powers of B, the sequences of a microbatch, and L, their length.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import product

POWERS = range(3)  # of B and L: the scores of all tokens with all others have the size B L x B L


@dataclass(frozen=True)
class BatchSize:
    """The sizes of a microbatch."""

    sequences: int
    length: int

    def __str__(self) -> str:
        return f"{self.sequences} sequences of length {self.length}"


@dataclass(frozen=True)
class Size:
    """`coefficient` x B^`batch` x L^`length`."""

    coefficient: Fraction
    batch: int = 0
    length: int = 0

    @property
    def is_constant(self) -> bool:
        """Whether it is the same for every batch."""
        return not self.batch and not self.length

    def evaluate(self, batch: BatchSize) -> int:
        """The size for a batch. Raises ValueError where it would not be whole."""
        value = self.coefficient * _multiply(batch, self.batch, self.length)
        if value.denominator != 1:
            raise ValueError(f"{self} is no whole number for {batch}")
        return value.numerator

    def __str__(self) -> str:
        powers = [("B", self.batch), ("L", self.length)]
        factors = [name if power == 1 else f"{name}^{power}" for name, power in powers if power]
        if self.coefficient != 1 or not factors:
            factors.insert(0, str(self.coefficient))
        return " * ".join(factors)


@dataclass(frozen=True)
class Comparison:
    """Two batches at which a model is captured. No two products of powers differ by the same factor."""

    first: BatchSize
    second: BatchSize

    def explain(self, first: int, second: int) -> Size | None:
        """The size that is `first` at the first batch and `second` at the second; None where none is."""
        if first == second:
            return Size(Fraction(first))
        for batch, length in self._list_powers():
            at_first, at_second = (_multiply(each, batch, length) for each in (self.first, self.second))
            size = Size(Fraction(first, at_first), batch, length)
            is_plausible = size.coefficient.denominator == 1 or max(batch, length) == 1  # L / 2, not L^2 / 2
            if first * at_second == second * at_first and is_plausible:
                return size
        return None

    def is_unambiguous(self) -> bool:
        """Whether no two products of powers differ by the same factor."""
        powers = self._list_powers()
        factors = {Fraction(_multiply(self.second, *each), _multiply(self.first, *each)) for each in powers}
        return len(factors) == len(powers)

    def _list_powers(self) -> list[tuple[int, int]]:
        """The powers of B and L that a size may have. What does not vary has none."""
        batch = POWERS if self.first.sequences != self.second.sequences else (0,)
        length = POWERS if self.first.length != self.second.length else (0,)
        return list(product(batch, length))


def _multiply(at: BatchSize, batch: int, length: int) -> int:
    value: int = at.sequences**batch * at.length**length
    return value


def vary_batch(first: BatchSize) -> Comparison:
    """A comparison with a shorter length, for which tables of positions suffice, and many more sequences.

    What is no product of powers of these sizes hardly grows or shrinks by such factors by chance.
    """
    half = (first.length + 1) // 2
    length = half if half > 1 else 2 * first.length
    comparisons = (Comparison(first, BatchSize(k * first.sequences, length)) for k in (7, 11, 13, 17))
    return next(comparison for comparison in comparisons if comparison.is_unambiguous())
