"""`--set first.batch.microbatches=64`: assignments that replace those of the file."""

from __future__ import annotations

from collections.abc import Sequence

from parc.diagnostic import Diagnostic, Label, error
from parc.plan.suggest import suggest_spelling
from parc.source import Source
from parc.syntax import tree
from parc.syntax.parse import parse_override


def apply_overrides(
    files: Sequence[tree.File], settings: Sequence[str], faults: list[Diagnostic]
) -> list[tree.File]:
    """The files with the settings applied; faults of the settings are added to `faults`."""
    changed = list(files)
    for setting in settings:
        assignment, found = parse_override(Source("--set", setting))
        faults.extend(found)
        if assignment is not None:
            _apply_override(changed, assignment, faults)
    return changed


def _apply_override(files: list[tree.File], assignment: tree.Assignment, faults: list[Diagnostic]) -> None:
    first, *rest = assignment.path.names
    places = [
        (number, index, statement)
        for number, file in enumerate(files)
        for index, statement in enumerate(file.statements)
        if (name := _get_name(statement)) and name.text == first.text
        if isinstance(statement, tree.Let) != bool(rest)
    ]
    if len(places) != 1:
        _report_target(files, assignment, len(places), faults)
        return
    number, index, statement = places[0]
    if isinstance(statement, tree.Let):
        changed: tree.Statement = statement._replace(value=assignment.value)
    else:
        assert isinstance(statement, tree.Block)
        body = _set_value(_get_body(statement, assignment), rest, assignment)
        changed = statement._replace(body=body)
    statements = files[number].statements
    files[number] = files[number]._replace(
        statements=(*statements[:index], changed, *statements[index + 1 :])
    )


def _report_target(
    files: list[tree.File], assignment: tree.Assignment, count: int, faults: list[Diagnostic]
) -> None:
    first = assignment.path.names[0]
    if count:
        message = f"`{first.text}` is ambiguous: {count} definitions have this name"
        faults.append(error("P116", message, Label(first.span, "ambiguous")))
        return
    names = {name.text for file in files for statement in file.statements if (name := _get_name(statement))}
    kind = "block" if len(assignment.path.names) > 1 else "constant"
    message = f"there is no {kind} `{first.text}` to set"
    faults.append(
        error("P116", message, Label(first.span, "unknown"), help=suggest_spelling(first.text, names))
    )


def _get_name(statement: tree.Statement) -> tree.Name | None:
    """The name by which a setting refers to a statement: of a constant, or the label of a block."""
    if isinstance(statement, tree.Let):
        return statement.name
    return statement.label if isinstance(statement, tree.Block) else None


def _get_body(block: tree.Block, assignment: tree.Assignment) -> tree.Body:
    return block.body or tree.Body(assignment.span, ())


def _set_value(body: tree.Body, path: list[tree.Name], assignment: tree.Assignment) -> tree.Body:
    """The body with the value at `path` replaced, or added if there is none."""
    name, *rest = path
    for index, statement in enumerate(body.statements):
        changed = _set_in_statement(statement, name, rest, assignment)
        if changed is not None:
            return body._replace(
                statements=(*body.statements[:index], changed, *body.statements[index + 1 :])
            )
    return body._replace(statements=(*body.statements, _build_statement(name, rest, assignment)))


def _set_in_statement(
    statement: tree.Statement, name: tree.Name, rest: list[tree.Name], assignment: tree.Assignment
) -> tree.Statement | None:
    """The statement with the setting applied; None if the setting refers to another statement."""
    match statement:
        case tree.Assignment() if statement.path.text == name.text and not rest:
            return statement._replace(value=assignment.value)
        case tree.Assignment(value=tree.Configured() as value) if statement.path.text == name.text:
            return statement._replace(value=value._replace(body=_set_value(value.body, rest, assignment)))
        case tree.Block() if statement.kind.text == name.text and rest:
            return statement._replace(body=_set_value(_get_body(statement, assignment), rest, assignment))
        case _:
            return None


def _build_statement(name: tree.Name, rest: list[tree.Name], assignment: tree.Assignment) -> tree.Statement:
    if not rest:
        return tree.Assignment(assignment.span, tree.Path(name.span, (name,)), assignment.value)
    inner = _build_statement(rest[0], rest[1:], assignment)
    return tree.Block(assignment.span, name, body=tree.Body(assignment.span, (inner,)))
