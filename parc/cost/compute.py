"""One device: matmuls by roofline, everything else by the bytes that it moves."""

from __future__ import annotations

from typing import NamedTuple

from parc.cost.constants import Constants
from parc.cost.job import Machine


class Matmul(NamedTuple):
    """(m x k) by (k x n), `batch` times side by side."""

    m: float
    n: float
    k: float
    batch: float = 1.0

    @property
    def flops(self) -> float:
        return 2 * self.m * self.n * self.k * self.batch


def matmul_seconds(of: Matmul, machine: Machine, constants: Constants, element: int) -> float:
    """Roofline: arithmetic, slowed down where a dim is too short to fill the device, or memory.

    `element` is the bytes of one number.
    """
    m, n, k, batch = of
    ramp = constants.ramp
    reached = constants.matmul * (m * batch / (m * batch + ramp)) * (n / (n + ramp)) * (k / (k + ramp))
    arithmetic = 2 * m * n * k * batch / (machine.compute * reached)
    moved = batch * element * (m * k + k * n + m * n)
    return max(arithmetic, moved / (machine.memory_bandwidth * constants.memory))


def traffic_seconds(bytes: float, machine: Machine, constants: Constants) -> float:
    return bytes / (machine.memory_bandwidth * constants.memory)
