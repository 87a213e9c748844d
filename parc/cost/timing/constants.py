"""What no data sheet says: shares of a peak that are reached, and what software costs.

They are fitted to measured runs (`fit.py`), a set for each kind of machine and software, and carry where they
come from. Where a machine has no set, those of the nearest kind stand in, and the grade falls to "estimated".
"""

from __future__ import annotations

import json
from functools import cache
from math import log
from pathlib import Path

from parc.cost.job.machine import Machine
from parc.record import dataclass

DATA = Path(__file__).parents[1] / "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    matmul: float  # share of the peak that a very large matmul reaches
    ramp: float  # size of a dim of a matmul at which half of that is reached
    attention: float  # the same share for fused attention, forward
    memory: float  # share of the memory bandwidth
    launch: float  # seconds of host time for one layer's forward pass
    inner: float  # share of the innermost link's bandwidth
    outer: float  # share of the other links'
    collective: float  # seconds to start a collective
    step: float  # seconds of a step that no size explains


@dataclass(frozen=True, slots=True)
class Calibration:
    """`fitted` says to which rows, `error` is the mean absolute log error on them.

    `compute` is the peak of their machine in 16 bits.
    """

    kind: str
    compute: float
    constants: Constants
    fitted: str
    rows: int
    error: float


@cache
def calibrations() -> dict[str, Calibration]:
    """By kind of machine and software."""
    known = json.loads((DATA / "constants.json").read_text())
    return {
        kind: Calibration(
            kind=kind,
            compute=entry["compute"],
            constants=Constants(**entry["constants"]),
            fitted=entry["fitted"],
            rows=entry["rows"],
            error=entry["error"],
        )
        for kind, entry in known.items()
    }


def nearest(machine: Machine) -> Calibration:
    """That of the device whose peak in 16 bits is the least factor away."""
    return min(calibrations().values(), key=lambda each: abs(log(machine.rated / each.compute)))
