"""Constants that no data sheet has: the shares of peaks that are reached, and the overhead of software.

They are fitted to measured runs (`fit.py`), a set for each kind of machine and software, and carry their
origin. For a machine without a set those of the nearest kind are taken; its times are graded "estimated".
"""

from __future__ import annotations

import json
from functools import cache
from math import log
from pathlib import Path

from parc.cost.job.hardware import Hardware
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
    """Constants, and the measured runs that they are fitted to."""

    kind: str  # of machine and software
    rated_flops: float  # the peak of the machine, in FLOP/s in 16 bits
    constants: Constants
    fitted: str  # the sources of the runs
    rows: int  # the number of runs
    error: float  # the mean absolute log error on them


@cache
def load_calibrations() -> dict[str, Calibration]:
    """By kind of machine and software."""
    known = json.loads((DATA / "constants.json").read_text())
    return {
        kind: Calibration(
            kind=kind,
            rated_flops=entry["compute"],
            constants=Constants(**entry["constants"]),
            fitted=entry["fitted"],
            rows=entry["rows"],
            error=entry["error"],
        )
        for kind, entry in known.items()
    }


def find_nearest_calibration(hardware: Hardware) -> Calibration:
    """The calibration of the machine whose peak in 16 bits differs by the smallest factor."""
    return min(
        load_calibrations().values(), key=lambda each: abs(log(hardware.rated_flops / each.rated_flops))
    )
