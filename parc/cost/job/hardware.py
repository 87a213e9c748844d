"""What data sheets say of a device and of the links between devices."""

from __future__ import annotations

from parc.named_tuple import NamedTuple
from parc.record import dataclass


class LinkSpeed(NamedTuple):
    """Of one device, in one direction: bytes a second, and seconds."""

    bandwidth: float
    latency: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """One device, and its link at each network level."""

    peak_flops: float  # FLOP/s in the type that matmuls run in, as far as it is known
    memory: float  # bytes
    memory_bandwidth: float  # bytes a second
    links: tuple[LinkSpeed, ...]  # innermost first
    peak_flops_16bit: float | None = None  # FLOP/s in 16 bits, where matmuls run in another type

    @property
    def rated_flops(self) -> float:
        """FLOP/s in 16 bits, by which kinds of machines are distinguished."""
        return self.peak_flops_16bit or self.peak_flops
