"""What a rung of the proof says."""

from __future__ import annotations

from collections.abc import Sequence
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


class NotProvable(Exception):
    """This machine, or parc, cannot climb a rung; the reason is for the user."""


def text(rung: Rung) -> str:
    """A rung as it is printed: verdict and time, then what was compared, then what refutes it."""
    lines = [f"{rung.name:<10}{rung.verdict:<14}{rung.seconds:>6.1f} s"]
    lines += [f"  {line}" for line in rung.compared]
    for finding in rung.findings:
        where = f"{finding.file}:{finding.line}: " if finding.file else ""
        lines.append(f"  {where}{finding.message}")
        lines += [f"    {detail}" for detail in finding.details]
    return "\n".join(lines)


def verdict(rungs: Sequence[Rung]) -> Verdict:
    """Of a whole climb: refuted where a rung is, else proved where all are."""
    found = {rung.verdict for rung in rungs}
    if "refuted" in found:
        return "refuted"
    return "not provable" if "not provable" in found or not rungs else "proved"
