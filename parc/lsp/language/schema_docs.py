"""The documentation of keys, blocks and rules, in Markdown."""

from __future__ import annotations

from parc.check.pages import format_page
from parc.plan.schema.documentation import describe_default, list_paths, make_anchor
from parc.plan.schema.form import Form, Key
from parc.resources import find_folder

RULE_PAGES = "parc:/rules/{code}.md"  # the server gives their text
REFERENCE = "parc:/language.md"  # and this one


def describe_key(form: Form, key: Key) -> str:
    """Type, meaning and default of a key."""
    lines = [f"**`{key.name}`**: {key.type}", "", key.doc]
    if default := describe_default(form, key):
        lines += ["", f"The default is {default}."]
    elif key.needed:
        lines += ["", f"`{form.kind}` needs it."]
    return "\n".join(lines)


def describe_form(form: Form) -> str:
    """Meaning, keys and inner blocks of a block."""
    lines = [f"**`{form.kind}`**", "", form.doc]
    if form.keys:
        lines += ["", *(f"- `{key.name}`: {key.doc}" for key in form.keys)]
    if form.blocks:
        lines += ["", "Blocks: " + ", ".join(f"`{block.kind}`" for block in form.blocks)]
    return "\n".join(lines)


def link_reference(form: Form) -> str:
    """A link to the section of a block in the language reference."""
    path = list_paths()[form]
    return f"[`{path}` in the language reference]({REFERENCE}#{make_anchor(path)})"


def find_page(uri: str) -> str | None:
    """The text of a rule's page or of the language reference, by its address."""
    name = uri.partition("#")[0].rpartition("/")[2].removesuffix(".md")
    if name == "language":
        return (find_folder("docs") / "language.md").read_text(encoding="utf-8")
    return format_page(name)
