"""`parc rule`: prints the page of a code, lists all codes, or writes all pages."""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from inspect import cleandoc
from itertools import groupby
from pathlib import Path

from parc.check.pages import format_page, list_rules
from parc.check.registry import Rule
from parc.commands.status import OK, USAGE
from parc.plan.suggest import find_nearest

SUBJECTS = {
    "P0": "Files and syntax",
    "P1": "Names, types and units",
    "P2": "Counts and divisibility",
    "P3": "Axes, strategies and claims",
    "P4": "Not supported by `parc build` yet",
    "P5": "Building",
    "P6": "Running",
}


def run(options: Namespace) -> int:
    """Print the page of a code; with `--all`, list all codes or write a page for each into a folder."""
    code = options.code
    if options.all and options.out:
        write_pages(options.out)
    elif options.all:
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


def write_pages(folder: Path) -> None:
    """Write a page for each code, and their index. Pages of codes that no longer exist are deleted."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = render_pages()
    for old in folder.glob("P*.md"):
        if old.name not in texts and re.fullmatch(r"P\d{3}\.md", old.name):
            old.unlink()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def render_pages() -> dict[str, str]:
    """The files of `docs/rules`: text by name."""
    pages = {f"{each.code}.md": f"{format_page(each.code)}\n" for each in list_rules()}
    return pages | {"README.md": _render_index()}


def _render_index() -> str:
    lines = ["# Rules", "", "All codes that parc reports. Written by `parc rule --all -o docs/rules`.", ""]
    for subject, some in groupby(list_rules(), lambda each: each.code[:2]):
        lines += [
            f"## {SUBJECTS[subject]}",
            "",
            "| code | severity | name | meaning |",
            "| --- | --- | --- | --- |",
        ]
        lines += [*map(_render_row, some), ""]
    return "\n".join(lines)


def _render_row(rule: Rule) -> str:
    meaning = cleandoc(rule.prose).split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
    return f"| [{rule.code}]({rule.code}.md) | {rule.severity.value} | {rule.name} | {meaning} |"
