"""The text of a resolved plan: every block with its values, defaults included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass

from parc.plan.blocks import Plan

_SPANS = ("span", "spans")


def dump_plan(plan: Plan) -> str:
    """A plan with its cluster, its model and what is trained."""
    return "\n".join(_format_lines("plan", plan)) + "\n"


def _format_lines(key: str, value: object) -> Iterator[str]:
    """A value under its key: a block has its own values below it; what is not given is left out."""
    if is_dataclass(value):
        yield key
        for each in fields(value):
            if each.name not in _SPANS:
                yield from (f"  {line}" for line in _format_lines(each.name, getattr(value, each.name)))
    elif isinstance(value, tuple) and any(is_dataclass(item) or isinstance(item, tuple) for item in value):
        for item in value:
            yield from _format_lines(key, item)
    elif isinstance(value, Mapping):
        yield from (f"{key}.{name} = {item!r}" for name, item in value.items())
    elif value is not None:
        yield f"{key} = {value!r}"
