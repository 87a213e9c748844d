"""A user's edits of an emitted folder, made again in the smaller program that is run in its place.

A three-way merge: what was emitted, what the user has made of it, and what is emitted for the trial. The
trial's text differs from the plan's by sizes alone, so that lines stand for each other if they are alike
without their numbers. Inside of a line the edit is carried over token by token; where it touches a number
that the trial has another one for, nobody can say what was meant.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path

from parc.emit.program import Files
from parc.verify.report import Finding, NotProvable

NUMBER = r"(?<![\w.])\d[\d._eE+-]*"
SHOWN = 60  # characters of a line
Block = tuple[int, int, int, int]  # lines [a, b) of one text become lines [c, d) of another


@dataclass
class Edited:
    """A folder's files as the trial has them, and where their lines are in the user's."""

    files: Files
    lines: dict[str, list[int]] = field(default_factory=dict)  # of an edited file: the user's line of each

    def finding(self, found: Finding) -> Finding:
        """A finding about the trial's files, told of the user's."""
        details = tuple(re.sub(r"([\w/]+\.py):(\d+)", self._place, detail) for detail in found.details)
        line = self._line(found.file, found.line) if found.file and found.line else found.line
        return Finding(found.message, details, found.file, line)

    def _place(self, said: re.Match[str]) -> str:
        return f"{said[1]}:{self._line(said[1], int(said[2]))}"

    def _line(self, file: str, line: int) -> int:
        lines = self.lines.get(file, ())
        return lines[line - 1] if line <= len(lines) else line


def carried(emitted: Files, folder: Path, trial: Files) -> Edited:
    """The trial's files with the edits that `folder` has against `emitted`; none where there are none.

    Raises NotProvable where an edit cannot be carried over.
    """
    found, sizes = Edited(dict(trial)), _sizes(emitted, trial)
    for name in sorted(_sources(emitted) | _present(folder)):
        path = folder / name
        if not path.is_file():
            raise NotProvable(f"`{name}` is gone from `{folder}`: there is nothing to run")
        theirs = path.read_bytes()
        base, ours = emitted.get(name), trial.get(name)
        if theirs == base:
            continue
        _check_sizes(name, _lines(name, base or b""), _lines(name, theirs), sizes)
        if base is None or base == ours:
            found.files[name] = theirs
        elif ours is None:
            raise NotProvable(f"`{name}` was edited, and what is run in its place has no such file")
        else:
            texts = (_lines(name, each) for each in (base, theirs, ours))
            text, lines = _Merge(name, *texts).merged()
            found.files[name], found.lines[name] = text.encode(), lines
    return found


def _sources(emitted: Files) -> set[str]:
    return {name for name in emitted if name.endswith(".py")}


def _present(folder: Path) -> set[str]:
    """The Python files that lie there, the user's own among them."""
    return {
        str(path.relative_to(folder))
        for path in (*folder.glob("*.py"), *(folder / "runtime").glob("*.py"))
        if path.is_file()
    }


def _lines(name: str, content: bytes) -> list[str]:
    try:
        return content.decode().splitlines(keepends=True)
    except UnicodeDecodeError as fault:
        line = content[: fault.start].count(b"\n") + 1
        raise NotProvable(
            f"`{name}` is not UTF-8 at line {line}: its edits cannot be carried over"
        ) from fault


class _Merge:
    def __init__(self, name: str, base: list[str], theirs: list[str], ours: list[str]) -> None:
        self.name, self.base, self.theirs, self.ours = name, base, theirs, ours
        self.place = _standing_for([_plain(line) for line in base], [_plain(line) for line in ours])
        self.place |= {len(base): len(ours), -1: -1}
        to_theirs = _standing_for(base, theirs)
        self.back = {mine: to_theirs[line] for line, mine in self.place.items() if line in to_theirs}

    def merged(self) -> tuple[str, list[int]]:
        """The trial's text with the edits, and the user's line of each of its lines."""
        out, lines, done = list[str](), list[int](), 0
        for kind, low, high, start, end in _matcher(self.base, self.theirs).get_opcodes():
            if kind == "equal":
                continue
            here, after = self._range(low, high, start)
            for number in range(done, here):
                out.append(self.ours[number])
                lines.append(self._their_line(number))
            made = self._replaced((low, high, here, after), self.theirs[start:end], start)
            out += made
            lines += [min(start + number, end - 1) + 1 for number in range(len(made))]
            done = after
        for number in range(done, len(self.ours)):
            out.append(self.ours[number])
            lines.append(self._their_line(number))
        return "".join(out), lines

    def _their_line(self, ours: int) -> int:
        """The user's line that stands for one of the trial's which no edit has touched."""
        return self.back.get(ours, ours) + 1

    def _range(self, low: int, high: int, start: int) -> tuple[int, int]:
        """The trial's lines that stand for lines [low, high) as emitted."""
        if low == high:  # lines were put in: behind the one before, else ahead of the one after
            before, after = self.place.get(low - 1), self.place.get(low)
            at = before + 1 if before is not None else after
            if at is not None:
                return at, at
        else:
            found = [self.place.get(number) for number in range(low, high)]
            first = found[0]
            if first is not None and found == list(range(first, first + high - low)):
                return first, first + high - low
        raise _unclear(
            self.name, self.theirs, start, "it stands among lines that the smaller program does not have"
        )

    def _replaced(self, block: Block, theirs: Sequence[str], start: int) -> list[str]:
        """The user's lines, with the trial's numbers where the emitted ones stood."""
        low, high, here, after = block
        base, ours = self.base[low:high], self.ours[here:after]
        if base == ours or low == high:
            return list(theirs)
        made = _tokens_replaced(_tokens("".join(base)), _tokens("".join(theirs)), _tokens("".join(ours)))
        if made is None:
            why = "it touches a number that the smaller program has another one for"
            raise _unclear(self.name, self.theirs, start, why)
        return made.splitlines(keepends=True)


def _unclear(name: str, theirs: Sequence[str], line: int, why: str) -> NotProvable:
    text = theirs[line].strip() if line < len(theirs) else "the end of the file"
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}.."
    return NotProvable(f"the edit at {name}:{line + 1} (`{shown}`) cannot be carried over: {why}")


def _check_sizes(name: str, base: Sequence[str], theirs: Sequence[str], sizes: Set[str]) -> None:
    """Refuses an edit that puts in a size of the plan's, where the smaller program has another one."""
    for kind, low, high, start, end in _matcher(base, theirs).get_opcodes():
        put_in = Counter(_numbers(theirs[start:end])) - Counter(_numbers(base[low:high]))
        if kind != "equal" and (named := sorted(sizes & put_in.keys())):
            line = next(n for n in range(start, end) if named[0] in _numbers(theirs[n : n + 1]))
            why = f"{named[0]} is a number that the smaller program has another one for"
            raise _unclear(name, theirs, line, why)


def _standing_for(one: Sequence[str], other: Sequence[str]) -> dict[int, int]:
    """Which line of the other text is alike, for each that one is."""
    blocks = _matcher(one, other).get_matching_blocks()
    return {block.a + number: block.b + number for block in blocks for number in range(block.size)}


def _sizes(emitted: Files, trial: Files) -> set[str]:
    """The whole numbers that have become others, in any file."""
    found = set[str]()
    for name in _sources(emitted) & trial.keys():
        base, ours = (_lines(name, each[name]) for each in (emitted, trial))
        if base != ours:
            alike = _standing_for([_plain(line) for line in base], [_plain(line) for line in ours])
            for mine, its in alike.items():
                pairs = zip(_numbers([base[mine]]), _numbers([ours[its]]), strict=True)
                found |= {one for one, other in pairs if one != other and one.isdigit()}
    return found


def _numbers(lines: Sequence[str]) -> list[str]:
    return re.findall(NUMBER, "".join(lines))


def _tokens_replaced(base: list[str], theirs: list[str], ours: list[str]) -> str | None:
    """The edit from `base` to `theirs` made in `ours`, which is `base` but for its numbers."""
    if [_plain(token) for token in base] != [_plain(token) for token in ours]:
        return None
    out = []
    for kind, low, high, start, end in _matcher(base, theirs).get_opcodes():
        if kind == "equal":
            out += ours[low:high]
        elif base[low:high] == ours[low:high]:
            out += theirs[start:end]
        else:
            return None
    return "".join(out)


def _tokens(text: str) -> list[str]:
    return re.findall(r"[^\W\d]\w*|\d[\d._eE]*|\s+|.", text)


def _plain(text: str) -> str:
    """Without its numbers, and without the types that a precision brings."""
    return re.sub(rf"{NUMBER}|\bfloat(?:32|64)\b|\bbfloat16\b", "#", text)


def _matcher(one: Sequence[str], other: Sequence[str]) -> SequenceMatcher[str]:
    return SequenceMatcher(None, one, other, autojunk=False)
