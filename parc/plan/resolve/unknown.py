"""Explains keys and blocks that the schema does not have.

They are misspelt, belong to another block, or are names of another framework.
"""

from __future__ import annotations

from collections.abc import Collection

from parc.diagnostic import Fix
from parc.plan.schema import foreign
from parc.plan.schema.documentation import list_paths
from parc.plan.schema.form import Form, Key
from parc.plan.suggest import Explanation, find_nearest, fix_spelling, suggest_spelling
from parc.syntax import tree, units

MAX_PLACES = 3  # that a message lists


def explain_key(form: Form, assignment: tree.Assignment, present: Collection[str]) -> Explanation:
    """What an unknown key may mean. `present` are the keys of the block; a fix adds none of them."""
    key = assignment.path.text
    keys = [each.name for each in form.keys]
    if form.find_block(key):
        return Explanation(f"`{key}` is a block: `{key} {{ .. }}`")
    for place in foreign.KEYS.get(key.lower(), ()):
        block, _, name = place.path.rpartition(".")
        if block == list_paths()[form] and place.same:
            return _rename(form, assignment, name, present, f"parc's name is `{name}`")
    if places := _list_places(key):
        return Explanation(places)
    fix = fix_spelling(assignment.path.span, key, set(keys) - set(present))
    help = suggest_spelling(key, keys)
    if fix is None:
        return Explanation(help)
    renamed = _rename(form, assignment, fix.edits[0][1], present, help)
    return renamed._replace(fix=fix) if renamed.fix else renamed


def _rename(
    form: Form, assignment: tree.Assignment, name: str, present: Collection[str], help: str | None
) -> Explanation:
    """`name` is meant; without a fix if it is taken, or if the value cannot be its value."""
    declared, path = form.find_key(name), assignment.path
    if declared is None or name in present or not can_be_value(form, declared, assignment.value):
        return Explanation(help)
    meant = tree.Path(path.span, (tree.Name(path.span, name),))
    return Explanation(help, Fix(f"write `{name}`", ((path.span, name),)), assignment._replace(path=meant))


def explain_block(form: Form, block: tree.Block, present: Collection[str]) -> Explanation:
    """What an unknown block may mean, and how to correct it."""
    kind, span = block.kind.text, block.kind.span
    kinds = [each.kind for each in form.blocks if not form.find_value(each.kind)]
    if taker := form.find_value(kind):
        return _assign(taker, block, present)
    if form.find_key(kind):
        return Explanation(f"`{kind}` is a key: `{kind} = ..`")
    able = [each for each in kinds if each not in present]
    meant, help = foreign.BLOCKS.get(kind.lower(), ""), suggest_spelling(kind, kinds)
    if meant in kinds:
        help, fix = f"parc's name is `{meant}`", Fix(f"write `{meant}`", ((span, meant),))
        if meant not in able:
            return Explanation(help)
    elif kind.lower() in foreign.KEYS and (places := _list_places(kind)):
        return Explanation(places)
    elif owners := [path for path in list_paths().values() if path.rpartition(".")[2] == kind]:
        return Explanation(f"`{kind}` is a block of another place: {_join(owners)}")
    elif found := fix_spelling(span, kind, able):
        meant, fix = found.edits[0][1], found
    else:
        return Explanation(help)
    return Explanation(help, fix, block._replace(kind=tree.Name(span, meant)))


def _assign(key: Key, block: tree.Block, present: Collection[str]) -> Explanation:
    """`adamw { .. }`, which is a value of `optimizer`."""
    kind = block.kind
    help = f"`{kind.text}` is a value: `{key.name} = {kind.text}..`"
    bare = not (block.label or block.purpose or block.place or block.over)
    if key.name in present or key.kind != "configured" or not bare or block.body is None:
        return Explanation(help)
    fix = Fix(f"write `{key.name} = {kind.text}`", ((kind.span, f"{key.name} = {kind.text}"),))
    path = tree.Path(kind.span, (tree.Name(kind.span, key.name),))
    value = tree.Configured(block.span, kind, block.body)
    return Explanation(help, fix, tree.Assignment(block.span, path, value))


def may_mean(form: Form, statement: tree.Assignment | tree.Block, name: str) -> bool:
    """Whether an unknown key or block may be meant as `name`, which is then not missing."""
    text = statement.path.text if isinstance(statement, tree.Assignment) else statement.kind.text
    if text in {each.name for each in form.keys} | {each.kind for each in form.blocks}:
        return False
    path = f"{list_paths()[form]}.{name}"
    if path in (place.path for place in foreign.KEYS.get(text.lower(), ())):
        return True
    return foreign.BLOCKS.get(text.lower()) == name or find_nearest(text, [name]) == name


def explain_choice(form: Form, key: Key, text: str) -> str | None:
    """parc's word for a choice in the words of another framework."""
    path = f"{list_paths()[form]}.{key.name}"
    return foreign.CHOICES.get(path, {}).get(text.lower().replace("-", "_"))


def can_be_value(form: Form, key: Key, node: tree.Expression) -> bool:
    """Whether a value could be that of a key, as far as it can be seen without evaluating it."""
    match node:
        case tree.Number():
            unit = units.UNITS.get(node.unit.text, (1, None))[1] if node.unit else units.NUMBER
            if key.kind == "choice":
                return node.span.text in key.choices
            return key.kind in ("count", "real", "quantity") and unit == key.dimension
        case tree.String():
            return key.kind in ("text", "texts", "kinds")
        case tree.List():
            return key.kind in ("texts", "counts", "sizes", "axes", "kinds")
        case tree.Path() if node.text in ("true", "false"):
            return key.kind == "flag"
        case tree.Path() if key.kind in ("choice", "kinds"):
            return node.text in key.choices or explain_choice(form, key, node.text) is not None
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
