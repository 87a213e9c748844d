"""What a data sheet says of devices and of the links between them."""

from __future__ import annotations

from typing import NamedTuple

from parc.record import dataclass


class Link(NamedTuple):
    bandwidth: float
    latency: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Figures of the data sheet."""

    compute: float  # FLOP/s in the type that matmuls run in, as far as it is known
    memory: float  # bytes
    memory_bandwidth: float
    links: tuple[Link, ...]  # innermost first
    sixteen: float | None = None  # FLOP/s in 16 bits, where matmuls run in another type

    @property
    def rated(self) -> float:
        """FLOP/s in 16 bits: by these, kinds of machines are told apart."""
        return self.sixteen or self.compute
