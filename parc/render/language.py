"""The reference of the plan language, in Markdown, from the schema and the grammar.

    python -m parc.render.language docs/language.md

writes it anew.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from parc.plan.imports import list_machines
from parc.plan.schema.documentation import describe_default, list_paths, make_anchor
from parc.plan.schema.form import Form, Key
from parc.plan.subjects import GROUPS, STRATEGIES, SUBJECTS, Subject
from parc.resources import find_folder
from parc.syntax.units import UNITS, Dimension, describe_dimension

CALLS = ("tokens", "files")  # values with arguments in parentheses
SETTINGS = ("adamw",)  # values with settings in braces
HEADS = {"label": " NAME", "for": " for NAME", "on": " on NAME", "over": " over [AXIS, ..]"}


class Section(NamedTuple):
    """The section of a block."""

    path: str
    doc: str
    head: str
    rows: str  # of the table of its keys
    inner: str  # links to the blocks in it
    open: bool
    claims: bool


def render_language() -> str:
    """The reference of the language."""
    paths = list_paths()
    loader = FileSystemLoader(find_folder("templates"))
    environment = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.get_template("language.md.jinja").render(
        example=_read("examples", "seed.parc"),
        machines=", ".join(f"`{name}`" for name in list_machines()),
        units="\n".join(_list_units()),
        sections=[_build_section(form, paths) for form in paths],
        strategies=", ".join(f"`{name}`" for name in STRATEGIES),
        subjects=_render_subjects(SUBJECTS),
        groups=_render_subjects(GROUPS),
        grammar=_read("grammar", "parc.lark"),
    )


def _read(folder: str, name: str) -> str:
    return (find_folder(folder) / name).read_text(encoding="utf-8")


def _list_units() -> Iterator[str]:
    """A row of the table of units for each dimension."""
    by_dimension: dict[Dimension, list[str]] = {}
    for name, (_, dimension) in UNITS.items():
        by_dimension.setdefault(dimension, []).append(f"`{name}`")
    for dimension, names in by_dimension.items():
        yield f"| {describe_dimension(dimension).split(',')[0]} | {', '.join(names)} |"


def _build_section(form: Form, paths: Mapping[Form, str]) -> Section:
    return Section(
        path=paths[form],
        doc=form.doc,
        head=_render_head(form),
        rows="\n".join(_render_key(form, key) for key in form.keys),
        inner=", ".join(f"[`{each.kind}`](#{make_anchor(paths[each])})" for each in form.blocks),
        open=form.open,
        claims=form.claims,
    )


def _render_head(form: Form) -> str:
    if form.kind in CALLS:
        named = "".join(f", {key.name} = .." for key in form.keys)
        return f'dataset = {form.kind}("GLOB", ..{named})'
    body = " { .. }" if form.keys or form.blocks or form.open else ""
    if form.kind in SETTINGS:
        return f"optimizer = {form.kind}{body}"
    return form.kind + "".join(HEADS[part] for part in form.head) + body


def _render_key(form: Form, key: Key) -> str:
    """The row of a key."""
    default = "**needed**" if key.needed else describe_default(form, key) or "unknown"
    return f"| `{key.name}` | {_describe_value(key)} | {default} | {key.doc} | `{key.name} = {key.example}` |"


def _describe_value(key: Key) -> str:
    """The type of a value, and between which limits it is legal."""
    if key.kind not in ("count", "real"):
        return key.type.split(", such as")[0]
    if key.most is not None:
        return f"{key.type} from {key.lower_bound:g} to {key.most:g}"
    return f"{key.type}, {key.lower_bound:g} or more" if key.lower_bound > -(2**53) else key.type


def _render_subjects(subjects: Mapping[str, Subject]) -> str:
    return "\n".join(
        f"| `{name}` | {describe_dimension(each.dimension).split(',')[0]} | {each.description} |"
        for name, each in subjects.items()
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render_language(), encoding="utf-8")
