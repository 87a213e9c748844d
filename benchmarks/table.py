"""How a benchmark reports: one line a figure, with what it may be at most."""

from __future__ import annotations

from typing import NamedTuple


class Figure(NamedTuple):
    what: str
    measured: float
    limit: float | None  # at most; None: only told
    unit: str = ""


def show(title: str, figures: list[Figure]) -> None:
    print(f"\n{title}")
    width = max(len(figure.what) for figure in figures)
    for what, measured, limit, unit in figures:
        allowed = "" if limit is None else f"  at most {limit:g} {unit}".rstrip()
        verdict = "" if limit is None else "  ok" if measured <= limit else "  OVER"
        print(f"  {what:<{width}}  {f'{measured:,.6g} {unit}'.rstrip():>14}{allowed:<20}{verdict}")
