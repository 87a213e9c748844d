"""Lines no longer than a reader likes."""

from __future__ import annotations

WIDTH = 110
_OPEN, _CLOSE = "([{", ")]}"
_OPERATORS = (" + ", " - ", " * ", " / ", " @ ")


def wrapped(statement: str, indent: int, last: str = "") -> list[str]:
    """A statement, and `last` behind it, on as few lines as fit, broken as a formatter breaks them."""
    space = " " * indent
    if indent + len(statement) + len(last) <= WIDTH:
        return [space + statement + last]
    head, equals, right = _assignment(statement)
    operands = _operands(right)
    if equals and len(operands) > 1:
        inner = [line for operand in operands for line in wrapped(operand, indent + 4)]
        return [f"{space}{head} = (", *inner, f"{space}){last}"]
    bracket = _breakable(statement)
    if bracket is None:
        return [space + statement + last]
    start, end = bracket
    inside = statement[start + 1 : end].strip().removesuffix(",")
    return [
        space + statement[: start + 1],
        *_inside(statement, start, inside, indent + 4),
        space + statement[end:] + last,
    ]


def _inside(statement: str, start: int, inside: str, indent: int) -> list[str]:
    """What stands in a broken bracket: on one line if it fits, else a line an entry."""
    single = len(_parts(inside)) == 1
    is_call = (
        start > 0
        and (statement[start - 1].isalnum() or statement[start - 1] in "_)]")
        or statement[start] == "["
    )
    if indent + len(inside) <= WIDTH and not (single and not is_call):
        return [" " * indent + inside]
    if single and not is_call:
        return wrapped(inside, indent)
    return [line for part in _parts(inside) for line in wrapped(part, indent, ",")]


def _assignment(statement: str) -> tuple[str, str, str]:
    head, equals, right = statement.partition(" = ")
    plain = not any(sign in head for sign in "([{") and equals
    return (head, equals, right) if plain else ("", "", statement)


def _operands(text: str) -> list[str]:
    """The operands of the outermost operators, each after the first with its operator in front."""
    found, depth, start, place = [], 0, 0, 0
    while place < len(text):
        depth += (text[place] in _OPEN) - (text[place] in _CLOSE)
        operator = next((o for o in _OPERATORS if depth == 0 and text.startswith(o, place)), None)
        if operator:
            found.append(text[start:place].strip())
            start = place + 1
            place += len(operator)
        else:
            place += 1
    return [*found, text[start:].strip()]


def _breakable(statement: str) -> tuple[int, int] | None:
    """The outermost bracket that holds the most."""
    best: tuple[int, int] | None = None
    depth, start = 0, 0
    for place, sign in _signs(statement):
        if sign in _OPEN:
            if depth == 0:
                start = place
            depth += 1
        elif sign in _CLOSE:
            depth -= 1
            if depth == 0 and place - start > 1 and (best is None or place - start > best[1] - best[0]):
                best = (start, place)
    return best


def _parts(inside: str) -> list[str]:
    """Split at the commas of the outermost level."""
    parts, depth, start = [], 0, 0
    for place, sign in _signs(inside):
        depth += (sign in _OPEN) - (sign in _CLOSE)
        if sign == "," and depth == 0:
            parts.append(inside[start:place].strip())
            start = place + 1
    last = inside[start:].strip()
    return [*parts, last] if last else parts


def _signs(text: str) -> list[tuple[int, str]]:
    """Brackets and commas outside of strings."""
    found, quote = [], ""
    for place, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote and text[place - 1] != "\\" else quote
        elif sign in "\"'":
            quote = sign
        elif sign in _OPEN + _CLOSE + ",":
            found.append((place, sign))
    return found
