"""Explains keys and blocks that the schema does not have.

They are misspelt, belong to another block, or are names of another framework.
"""

from __future__ import annotations

from collections.abc import Collection

from parc.diagnostic import Fix
from parc.plan.schema import foreign
from parc.plan.schema.documentation import list_paths
from parc.plan.schema.form import Form, Key
from parc.plan.suggest import find_nearest, fix_spelling, suggest_spelling
from parc.syntax import tree, units

MAX_PLACES = 3  # that a message lists


def explain_key(
    form: Form, assignment: tree.Assignment, present: Collection[str]
) -> tuple[str | None, Fix | None]:
    """Help and a fix for an unknown key. `present` are the keys of the block; a fix adds none of them."""
    key, span = assignment.path.text, assignment.path.span
    keys = {each.name for each in form.keys}
    if form.find_block(key):
        return f"`{key}` is a block: `{key} {{ .. }}`", None
    for place in foreign.KEYS.get(key.lower(), ()):
        block, _, name = place.path.rpartition(".")
        if block == list_paths()[form] and place.same:
            declared = form.find_key(name)
            fix = None
            if declared and name not in present:
                fix = _rename(form, declared, assignment)
            return f"parc's name is `{name}`", fix
    if places := _list_places(key):
        return places, None
    able = [each.name for each in form.keys if each.name not in present]
    fix = fix_spelling(span, key, able)
    meant = form.find_key(fix.edits[0][1]) if fix else None
    if meant and not can_be_value(meant, assignment.value):
        fix = None
    return suggest_spelling(key, keys), fix


def _rename(form: Form, key: Key, assignment: tree.Assignment) -> Fix | None:
    """The fix that makes it an assignment of `key`; its value may be a word of another framework, too."""
    value, edits = assignment.value, [(assignment.path.span, key.name)]
    if isinstance(value, tree.Path | tree.String) and key.kind == "choice":
        text = value.value if isinstance(value, tree.String) else value.text
        if meant := explain_choice(form, key, text):
            edits.append((value.span, meant))
        elif text not in key.choices:
            return None
    elif not can_be_value(key, value):
        return None
    return Fix(f"write `{key.name}`", tuple(edits))


def may_mean(form: Form, statement: tree.Assignment | tree.Block, name: str) -> bool:
    """Whether an unknown key or block may be meant as `name`, which is then not missing."""
    text = statement.path.text if isinstance(statement, tree.Assignment) else statement.kind.text
    if text in {each.name for each in form.keys} | {each.kind for each in form.blocks}:
        return False
    path = f"{list_paths()[form]}.{name}"
    if path in (place.path for place in foreign.KEYS.get(text.lower(), ())):
        return True
    return foreign.BLOCKS.get(text.lower()) == name or find_nearest(text, [name]) == name


def explain_block(form: Form, block: tree.Block, present: Collection[str]) -> tuple[str | None, Fix | None]:
    """The same for an unknown block."""
    kind, span = block.kind.text, block.kind.span
    kinds = [each.kind for each in form.blocks if not form.find_value(each.kind)]
    if taker := form.find_value(kind):
        fix = None
        if taker.name not in present and taker.kind == "configured" and _is_bare(block):
            fix = Fix(f"write `{taker.name} = {kind}`", ((span, f"{taker.name} = {kind}"),))
        return f"`{kind}` is a value: `{taker.name} = {kind}..`", fix
    if form.find_key(kind):
        return f"`{kind}` is a key: `{kind} = ..`", None
    meant = foreign.BLOCKS.get(kind.lower())
    if meant in kinds:
        fix = Fix(f"write `{meant}`", ((span, meant),)) if meant not in present else None
        return f"parc's name is `{meant}`", fix
    if kind.lower() in foreign.KEYS and (places := _list_places(kind)):
        return places, None
    owners = [path for path in list_paths().values() if path.rpartition(".")[2] == kind]
    if owners:
        return f"`{kind}` is a block of {_join(owners)}", None
    return suggest_spelling(kind, kinds), fix_spelling(span, kind, set(kinds) - set(present))


def explain_choice(form: Form, key: Key, text: str) -> str | None:
    """parc's word for a choice in the words of another framework."""
    path = f"{list_paths()[form]}.{key.name}"
    return foreign.CHOICES.get(path, {}).get(text.lower().replace("-", "_"))


def can_be_value(key: Key, node: tree.Expression) -> bool:
    """Whether a value could be that of a key, as far as it can be seen without evaluating it."""
    match node:
        case tree.Number():
            unit = units.UNITS.get(node.unit.text, (1, None))[1] if node.unit else units.NUMBER
            if key.kind == "choice":
                return node.span.text in key.choices
            return key.kind in ("count", "real", "quantity") and unit == key.dimension
        case tree.String():
            return key.kind in ("text", "texts")
        case tree.List():
            return key.kind in ("texts", "counts", "sizes", "axes")
        case tree.Path() if node.text in ("true", "false"):
            return key.kind == "flag"
        case tree.Path() if key.kind == "choice":
            return node.text in key.choices
        case tree.Call() | tree.Configured():
            return key.kind in ("call", "configured") and node.name.text in key.choices
        case _:
            return key.kind not in ("flag", "choice", "text", "call", "configured")


def _list_places(key: str) -> str | None:
    """Where a key is that is not one of this block, by its own name or by that of another framework."""
    if foreign_places := foreign.KEYS.get(key.lower()):
        different = [place.help for place in foreign_places if place.help]
        if different:
            return different[0]
        return f"parc has it as {_join([place.path for place in foreign_places])}"
    owners = [f"{path}.{key}" for form, path in list_paths().items() if form.find_key(key)]
    return f"it is a key of another block: {_join(owners)}" if owners else None


def _join(paths: Collection[str]) -> str:
    """`batch.length` of `train`, for each of the paths."""
    if len(paths) > MAX_PLACES:
        paths = list(paths)[:MAX_PLACES]
    return " or ".join(f"`{path}`" for path in paths)


def _is_bare(block: tree.Block) -> bool:
    """Whether it is a kind and a body without anything between them."""
    return not (block.label or block.purpose or block.place or block.over) and block.body is not None
