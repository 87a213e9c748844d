"""What a rung of the proof says, and the whole of it for people and for scripts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["proved", "refuted", "not provable"]
VERSION = 1  # of the JSON: it changes when a field goes or changes its sense


@dataclass(frozen=True)
class Finding:
    """One thing that refutes a program. `file` is relative to its folder."""

    message: str
    details: tuple[str, ...] = ()
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True)
class Rung:
    """One step of the proof; `compared` are the lines that say what was compared, and how closely.

    Where it is not provable, the last of them and the findings are the reasons.
    """

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


def closing(rungs: Sequence[Rung], seconds: float) -> str:
    """What it comes to."""
    found = verdict(rungs)
    names = [rung.name for rung in rungs if rung.verdict == found]
    by = f": {', '.join(names)}" if names else ""
    return f"{found}{by}, in {seconds:.1f} s"


def as_json(plan: str, rungs: Sequence[Rung], seconds: float) -> str:
    """The same as one object: `version`, `plan`, `verdict`, `seconds`, and `rungs` in the order climbed.

    A rung has `name`, `verdict`, `seconds`, `compared` (lines) and `findings`, a finding `message`, `details`
    (lines), and `file` and `line` in the program's folder, or null. A verdict is "proved", "refuted" or
    "not provable".
    """
    found = {
        "version": VERSION,
        "plan": plan,
        "verdict": verdict(rungs),
        "seconds": round(seconds, 1),
        "rungs": [{**asdict(rung), "seconds": round(rung.seconds, 1)} for rung in rungs],
    }
    return json.dumps(found, indent=2) + "\n"


def verdict(rungs: Sequence[Rung]) -> Verdict:
    """Of a whole climb: refuted where a rung is, else proved where all are."""
    found = {rung.verdict for rung in rungs}
    if "refuted" in found:
        return "refuted"
    return "not provable" if "not provable" in found or not rungs else "proved"
