"""The documentation of keys, blocks and rules, in Markdown."""

from __future__ import annotations

from dataclasses import MISSING, fields

from parc.check.pages import format_page
from parc.plan import blocks
from parc.plan.schema.form import Form, Key

RULE_PAGES = "parc:/rules/{code}.md"  # the server gives their text


def describe_key(form: Form, key: Key) -> str:
    """Type, meaning and default of a key."""
    lines = [f"**`{key.name}`**: {key.type}", "", key.doc]
    default = _find_default(form, key)
    if default:
        lines += ["", f"The default is `{default}`."]
    elif key.needed:
        lines += ["", f"`{form.kind}` needs it."]
    return "\n".join(lines)


def _find_default(form: Form, key: Key) -> str:
    """The default as it is written in a plan; empty if there is none."""
    if not form.dataclass:
        return ""
    for field in fields(getattr(blocks, form.dataclass)):
        if field.name == key.name and field.default is not MISSING and field.default not in (None, ()):
            value = field.default
            return str(value).lower() if isinstance(value, bool) else str(value)
    return ""


def describe_form(form: Form) -> str:
    """Meaning, keys and inner blocks of a block."""
    lines = [f"**`{form.kind}`**", "", form.doc]
    if form.keys:
        lines += ["", *(f"- `{key.name}`: {key.doc}" for key in form.keys)]
    if form.blocks:
        lines += ["", "Blocks: " + ", ".join(f"`{block.kind}`" for block in form.blocks)]
    return "\n".join(lines)


def find_page(uri: str) -> str | None:
    """The text of a rule's page, by its address."""
    return format_page(uri.rpartition("/")[2].removesuffix(".md"))
