"""A pseudo-random order of any number of items, without a table of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

ROUNDS = 4  # of a Feistel network; 4 suffice for a pseudo-random permutation (Luby and Rackoff, 1988)


@dataclass(frozen=True)
class Shuffle:
    """A bijection of range(size) in O(1) memory; another `key` gives another order.

    It is a Feistel network on the next power of four, applied again while the result is outside of the range.
    """

    size: int
    key: str
    half: int = field(init=False)  # bits of either half of an index

    def __post_init__(self) -> None:
        object.__setattr__(self, "half", max(1, ((self.size - 1).bit_length() + 1) // 2))

    def __call__(self, index: int) -> int:
        if not 0 <= index < self.size:
            raise IndexError(f"{index} is not in range({self.size})")
        while True:
            index = self._scramble(index)
            if index < self.size:
                return index

    def _scramble(self, index: int) -> int:
        mask = (1 << self.half) - 1
        left, right = index >> self.half, index & mask
        for turn in range(ROUNDS):
            digest = hashlib.blake2b(f"{self.key}/{turn}/{right}".encode(), digest_size=8).digest()
            left, right = right, left ^ (int.from_bytes(digest, "little") & mask)
        return left << self.half | right
