"""What a rung of the proof says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["proved", "refuted", "not provable"]


@dataclass(frozen=True)
class Finding:
    """One thing that refutes a program. `file` is relative to its folder."""

    message: str
    details: tuple[str, ...] = ()
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True)
class Rung:
    """One step of the proof; `compared` are the lines that say what was compared, and how closely."""

    name: str
    verdict: Verdict
    compared: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0
