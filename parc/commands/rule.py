"""`parc rule`: the pages of all that parc tells, one of them, their list, or all of them as files."""

from __future__ import annotations

import re
import sys
from inspect import cleandoc
from itertools import groupby
from pathlib import Path

from parc.check.pages import format_page, list_rules
from parc.check.registry import Rule
from parc.plan.suggest import find_nearest

OK, USAGE = 0, 2
SUBJECTS = {
    "P0": "Files and syntax",
    "P1": "Names, types and units",
    "P2": "Counts and divisibility",
    "P3": "Axes, strategies and claims",
    "P4": "Not supported by `parc build` yet",
    "P5": "Building",
    "P6": "Running",
}


def rule(code: str | None, everything: bool, out: Path | None) -> int:
    """Print the page of `code`; with `everything` list all codes, or write a file for each into `out`."""
    if everything and out:
        write(out)
    elif everything:
        for each in list_rules():
            print(f"{each.code}  {each.severity.value:<7}  {each.name}")
    elif code and (text := format_page(code.upper())):
        print(text)
    else:
        known = find_nearest((code or "").upper(), [each.code for each in list_rules()])
        help = f": did you mean {known}?" if known else ""
        print(f"parc: there is no rule {code}{help}" if code else "parc: which rule?", file=sys.stderr)
        return USAGE
    return OK


def write(folder: Path) -> None:
    """One page a code, and their list; pages of codes that are no more are taken away."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = files()
    for old in folder.glob("P*.md"):
        if old.name not in texts and re.fullmatch(r"P\d{3}\.md", old.name):
            old.unlink()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def files() -> dict[str, str]:
    """The text of each file of `docs/rules`, by its name."""
    pages = {f"{each.code}.md": f"{format_page(each.code)}\n" for each in list_rules()}
    return pages | {"README.md": _index()}


def _index() -> str:
    lines = ["# Rules", "", "All that parc tells. Written by `parc rule --all -o docs/rules`.", ""]
    for subject, some in groupby(list_rules(), lambda each: each.code[:2]):
        lines += [
            f"## {SUBJECTS[subject]}",
            "",
            "| code | severity | name | what |",
            "| --- | --- | --- | --- |",
        ]
        lines += [*map(_row, some), ""]
    return "\n".join(lines)


def _row(rule: Rule) -> str:
    what = cleandoc(rule.prose).split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
    return f"| [{rule.code}]({rule.code}.md) | {rule.severity.value} | {rule.name} | {what} |"
