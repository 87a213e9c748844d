"""Units and their dimensions. Values are in SI units: bytes, seconds, FLOP and their quotients."""

from __future__ import annotations

from parc.named_tuple import NamedTuple


class Dimension(NamedTuple):
    """Powers of byte, second and FLOP: `GB/s` is (1, -1, 0)."""

    byte: int = 0
    second: int = 0
    flop: int = 0

    def multiply(self, other: Dimension, sign: int = 1) -> Dimension:
        return Dimension(*(mine + sign * theirs for mine, theirs in zip(self, other, strict=True)))


NUMBER = Dimension()
SIZE = Dimension(byte=1)
TIME = Dimension(second=1)
RATE = Dimension(second=-1)
BANDWIDTH = Dimension(byte=1, second=-1)
WORK = Dimension(flop=1)
COMPUTE = Dimension(second=-1, flop=1)

WORDS = {
    NUMBER: "a plain number",
    SIZE: "a size in bytes, such as `64 GB`",
    TIME: "a time, such as `3 us`",
    RATE: "a number per time, such as `2e12 / 1 d`",
    BANDWIDTH: "a bandwidth, such as `50 GB/s`",
    WORK: "an amount of work, such as `2 TFLOP`",
    COMPUTE: "a compute rate, such as `400 TFLOPS`",
}

_DECIMAL = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}
_SIZES = {f"{prefix}B": scale for prefix, scale in (_DECIMAL | _BINARY).items()}

UNITS: dict[str, tuple[int | float, Dimension]] = {
    "%": (0.01, NUMBER),
    **{name: (scale, SIZE) for name, scale in _SIZES.items()},
    **{f"{name}/s": (scale, BANDWIDTH) for name, scale in _SIZES.items()},
    **{f"{prefix}FLOP": (scale, WORK) for prefix, scale in _DECIMAL.items()},
    **{f"{prefix}FLOPS": (scale, COMPUTE) for prefix, scale in _DECIMAL.items()},
    **{f"{prefix}FLOP/s": (scale, COMPUTE) for prefix, scale in _DECIMAL.items()},
    "ns": (1e-9, TIME),
    "us": (1e-6, TIME),
    "µs": (1e-6, TIME),
    "ms": (1e-3, TIME),
    "s": (1, TIME),
    "min": (60, TIME),
    "h": (3600, TIME),
    "d": (86400, TIME),
}


_BITS = {
    f"{prefix}{rate}": f"{prefix}B/s" for prefix in "kMGTP" for rate in ("bps", "bit/s", "bits/s", "b/s")
}
_BITS |= {unit.lower(): rate for unit, rate in _BITS.items()}
_WORDS = {
    "s": "sec secs second seconds",
    "min": "mins minute minutes",
    "h": "hr hrs hour hours",
    "d": "day days",
    "us": "usec μs microseconds",
    "ms": "msec milliseconds",
    "ns": "nsec nanoseconds",
    "B": "byte bytes",
}
_FOREIGN = {word: unit for unit, words in _WORDS.items() for word in words.split()} | {
    f"{prefix}{rate}": f"{prefix}B/s" for prefix in "kMGTP" for rate in ("Bps", "B/sec")
}


def convert_foreign(number: float, unit: str) -> tuple[float, str] | None:
    """The same quantity in a unit of the language; None if the unit is known nowhere.

    `400 Gbps` are `50 GB/s`, and `5 sec` are `5 s`.
    """
    if unit in _BITS:
        return number / 8, _BITS[unit]
    return (number, _FOREIGN[unit]) if unit in _FOREIGN else None


def describe_dimension(dimension: Dimension) -> str:
    """A dimension in words, for messages."""
    if dimension in WORDS:
        return WORDS[dimension]
    powers = zip(("B", "s", "FLOP"), dimension, strict=True)
    return "a quantity in " + " ".join(f"{unit}^{power}" for unit, power in powers if power)


def format_unit(dimension: Dimension) -> str:
    """The SI unit of a dimension: `B`, `FLOP/s`, `1/s`; empty for a plain number."""
    powers = list(zip(("B", "FLOP", "s"), (dimension.byte, dimension.flop, dimension.second), strict=True))
    above = " ".join(unit if power == 1 else f"{unit}^{power}" for unit, power in powers if power > 0)
    below = "".join(f"/{unit}" if power == -1 else f"/{unit}^{-power}" for unit, power in powers if power < 0)
    return f"{above or '1'}{below}" if above or below else ""
