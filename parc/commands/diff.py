"""`parc diff`: what changes from one plan to another."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from parc.commands.explain import OK, chosen, pen
from parc.report.difference import difference
from parc.report.overview import overview


def diff(before: Path, after: Path, plans: Sequence[str | None], form: str, overrides: Sequence[str]) -> int:
    """`plans` are the names of the two; None: the only one of its file."""
    found = []
    for file, name in zip((before, after), plans, strict=True):
        one = chosen(file, name, overrides)
        if isinstance(one, int):
            return one
        found.append(overview(one.plan))
    change = difference(*found)
    if form == "json":
        from parc.report import plain

        print(json.dumps(plain.difference(change), indent=2))
    else:
        from parc.render.difference import render

        print(render(change, pen(sys.stdout)), end="")
    return OK
