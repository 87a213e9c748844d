"""What is said of keys, blocks and rules, in Markdown."""

from __future__ import annotations

from dataclasses import MISSING, fields

from parc.check.codes.pages import page
from parc.plan import blocks as facts
from parc.plan.schema.form import Form, Key

PAGES = "parc:/rules/{code}.md"  # the server gives the text of these


def of_key(form: Form, key: Key) -> str:
    lines = [f"**`{key.name}`**: {key.type}", "", key.doc]
    default = default_of(form, key)
    if default:
        lines += ["", f"Left out, it is `{default}`."]
    elif key.needed:
        lines += ["", f"`{form.kind}` needs it."]
    return "\n".join(lines)


def default_of(form: Form, key: Key) -> str:
    """As it is written in a plan; nothing where there is none."""
    if not form.dataclass:
        return ""
    for field in fields(getattr(facts, form.dataclass)):
        if field.name == key.name and field.default is not MISSING and field.default not in (None, ()):
            value = field.default
            return str(value).lower() if isinstance(value, bool) else str(value)
    return ""


def of_form(form: Form) -> str:
    lines = [f"**`{form.kind}`**", "", form.doc]
    if form.keys:
        lines += ["", *(f"- `{key.name}`: {key.doc}" for key in form.keys)]
    if form.blocks:
        lines += ["", "Blocks: " + ", ".join(f"`{block.kind}`" for block in form.blocks)]
    return "\n".join(lines)


def of_link(uri: str) -> str | None:
    """The text of the page that a link leads to."""
    return page(uri.rpartition("/")[2].removesuffix(".md"))
