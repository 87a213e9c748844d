"""The result of each rung, and the report of all of them, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Literal, TypeAlias

RungVerdict: TypeAlias = Literal["proved", "refuted", "not provable"]
VERSION = 1  # of the JSON: it changes when a field is removed or changes its meaning


class NotProvable(Exception):
    """This machine, or parc, cannot decide a rung. The message is the reason, for the user."""


@dataclass(frozen=True)
class RungFinding:
    """One reason why a program is refuted, or a rung not provable. `file` is relative to the folder."""

    message: str
    details: tuple[str, ...] = ()
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True)
class Rung:
    """The result of one step of the proof. `compared`: lines on what was compared, and how closely it agrees.

    Where the rung is not provable, the reasons are its findings or the last line of `compared`.
    """

    name: str
    verdict: RungVerdict
    compared: tuple[str, ...]
    findings: tuple[RungFinding, ...] = ()
    seconds: float = 0.0


def combine_verdicts(rungs: Sequence[Rung]) -> RungVerdict:
    """The verdict on a program: refuted where a rung is, else proved where all rungs are."""
    found = {rung.verdict for rung in rungs}
    if "refuted" in found:
        return "refuted"
    return "not provable" if "not provable" in found or not rungs else "proved"


def format_rung(rung: Rung) -> str:
    """Verdict and time, then what was compared, then the findings."""
    lines = [f"{rung.name:<10}{rung.verdict:<14}{rung.seconds:>6.1f} s"]
    lines += [f"  {line}" for line in rung.compared]
    for finding in rung.findings:
        where = f"{finding.file}:{finding.line}: " if finding.file else ""
        lines.append(f"  {where}{finding.message}")
        lines += [f"    {detail}" for detail in finding.details]
    return "\n".join(lines)


def format_summary(rungs: Sequence[Rung], seconds: float) -> str:
    """The last line of the report: the verdict, and the rungs that it comes from."""
    found = combine_verdicts(rungs)
    names = [rung.name for rung in rungs if rung.verdict == found]
    by = f": {', '.join(names)}" if names else ""
    return f"{found}{by}, in {seconds:.1f} s"


def format_json(plan: str, rungs: Sequence[Rung], seconds: float) -> str:
    """The report as one JSON object. Its form is documented in docs/verify.md."""
    found = {
        "version": VERSION,
        "plan": plan,
        "verdict": combine_verdicts(rungs),
        "seconds": round(seconds, 1),
        "rungs": [{**asdict(rung), "seconds": round(rung.seconds, 1)} for rung in rungs],
    }
    return json.dumps(found, indent=2) + "\n"


def format_ranks(ranks: Iterable[int]) -> str:
    """Ranks in words, neighbours as one range: "rank 3", "ranks 0-3, 8"."""
    ordered = sorted(ranks)
    runs = (list(run) for _, run in groupby(ordered, key=lambda rank: rank - ordered.index(rank)))
    ranges = ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
    return f"rank{'s' if len(ordered) > 1 else ''} {ranges}"
