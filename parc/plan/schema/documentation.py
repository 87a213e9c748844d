"""What documentation says about blocks and keys: their places in docs/language.md, and default values."""

from __future__ import annotations

from dataclasses import MISSING, fields

from parc.plan import blocks
from parc.plan.schema import TOP
from parc.plan.schema.form import Form, Key


def describe_default(form: Form, key: Key) -> str:
    """The value of a key that is left out, in Markdown; empty if it is unknown or the key is needed."""
    if key.default or not form.dataclass:
        return key.default
    for field in fields(getattr(blocks, form.dataclass)):
        if field.name == key.name and field.default is not MISSING and field.default not in (None, ()):
            value = field.default
            return f"`{str(value).lower() if isinstance(value, bool) else value}`"
    return ""


def list_paths() -> dict[Form, str]:
    """The path of each block, such as `train.batch`; a block of several others has the first of its paths."""
    paths: dict[Form, str] = {}

    def collect(form: Form, path: str) -> None:
        if form not in paths:
            paths[form] = path
            for inner in form.blocks:
                collect(inner, f"{path}.{inner.kind}")

    for form in TOP.values():
        collect(form, form.kind)
    return paths


def make_anchor(path: str) -> str:
    """The anchor of the section of a block in docs/language.md."""
    return path.replace(".", "")
