"""One device: matmuls by roofline, everything else by the bytes that it moves."""

from __future__ import annotations

from parc.cost.job.machine import Machine
from parc.cost.job.software import Practice
from parc.cost.timing.constants import Constants
from parc.cost.work.part import Matmul


def matmul_seconds(of: Matmul, machine: Machine, constants: Constants, element: int) -> float:
    """Roofline: arithmetic, slowed down where a dim is too short to fill the device, or memory.

    `element` is the bytes of one number.
    """
    m, n, k, batch, _ = of
    moved = batch * element * (m * k + k * n + m * n)
    return max(_arithmetic(of, machine, constants), traffic_seconds(moved, machine, constants))


def gradient_seconds(of: Matmul, machine: Machine, constants: Constants, practice: Practice) -> float:
    """Of the two matmuls in its gradient. That of a weight is added to what earlier microbatches gave: as the
    matmul writes it, or by reading all of it once more."""
    m, n, k, batch, weight = of
    element, gradient = practice.element, practice.gradient
    once = matmul_seconds(of, machine, constants, element)
    if not weight:
        return 2 * once
    added = 2 * gradient if practice.fused else element
    moved = batch * (element * (m * k + m * n) + added * k * n)
    seconds = once + max(_arithmetic(of, machine, constants), traffic_seconds(moved, machine, constants))
    if not practice.fused:
        seconds += traffic_seconds(batch * k * n * (element + 2 * gradient), machine, constants)
    return seconds


def _arithmetic(of: Matmul, machine: Machine, constants: Constants) -> float:
    m, n, k, batch, _ = of
    ramp = constants.ramp
    reached = constants.matmul * (m * batch / (m * batch + ramp)) * (n / (n + ramp)) * (k / (k + ramp))
    return 2 * m * n * k * batch / (machine.compute * reached)


def traffic_seconds(bytes: float, machine: Machine, constants: Constants) -> float:
    return bytes / (machine.memory_bandwidth * constants.memory)
