"""The time of one device: matmuls by roofline, everything else by the bytes that it moves."""

from __future__ import annotations

from parc.cost.job.hardware import Hardware
from parc.cost.job.software import Software
from parc.cost.timing.constants import Constants
from parc.cost.work.part import Matmul


def predict_matmul(matmul: Matmul, hardware: Hardware, constants: Constants, element_bytes: int) -> float:
    """Seconds by roofline: those of arithmetic or those of memory traffic, whichever are more.

    Arithmetic is slower where a dim is too short to fill the device.
    """
    m, n, k, batch, _ = matmul
    moved = batch * element_bytes * (m * k + k * n + m * n)
    return max(
        _predict_arithmetic(matmul, hardware, constants), predict_memory_traffic(moved, hardware, constants)
    )


def predict_matmul_gradient(
    matmul: Matmul, hardware: Hardware, constants: Constants, software: Software
) -> float:
    """Seconds of the two matmuls in the gradient of a matmul.

    The gradient of a weight is added to that of earlier microbatches: by its matmul, or in another pass over
    all of it.
    """
    m, n, k, batch, has_parameter = matmul
    element, gradient = software.element_bytes, software.gradient_bytes
    input_gradient = predict_matmul(matmul, hardware, constants, element)
    if not has_parameter:
        return 2 * input_gradient
    added = 2 * gradient if software.fused_accumulation else element
    moved = batch * (element * (m * k + m * n) + added * k * n)
    seconds = input_gradient + max(
        _predict_arithmetic(matmul, hardware, constants), predict_memory_traffic(moved, hardware, constants)
    )
    if not software.fused_accumulation:
        accumulated = batch * k * n * (element + 2 * gradient)
        seconds += predict_memory_traffic(accumulated, hardware, constants)
    return seconds


def _predict_arithmetic(matmul: Matmul, hardware: Hardware, constants: Constants) -> float:
    m, n, k, batch, _ = matmul
    ramp = constants.ramp
    reached = constants.matmul * (m * batch / (m * batch + ramp)) * (n / (n + ramp)) * (k / (k + ramp))
    return 2 * m * n * k * batch / (hardware.peak_flops * reached)


def predict_memory_traffic(bytes: float, hardware: Hardware, constants: Constants) -> float:
    """Seconds to move bytes to or from memory."""
    return bytes / (hardware.memory_bandwidth * constants.memory)
