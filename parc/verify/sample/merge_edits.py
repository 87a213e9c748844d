"""Merges a user's edits of an emitted folder into the smaller program that is run in its place.

The merge has three sides: the emitted files, the user's files, and the files that are emitted for the sample.
A sample's text differs from the plan's in its sizes alone, so two lines correspond if they are equal without
their numbers. Inside a line the edit is merged token by token. An edit of a number that the sample has
another value for is refused: what it should become is unknown.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from pathlib import Path

from parc.emit.program import Files
from parc.verify.report import NotProvable, RungFinding

NUMBER = r"(?<![\w.])\d[\d._eE+-]*"
SHOWN = 60  # characters of a line

Lines = Sequence[str]


@dataclass
class MergedFiles:
    """The sample's files with the user's edits. `lines`: by edited file, the user's line of each line."""

    files: Files
    lines: dict[str, list[int]] = field(default_factory=dict)

    def translate(self, finding: RungFinding) -> RungFinding:
        """A finding about the sample's files with the lines of the user's."""

        def replace_line(match: re.Match[str]) -> str:
            return f"{match[1]}:{self._find_user_line(match[1], int(match[2]))}"

        details = tuple(re.sub(r"([\w/]+\.py):(\d+)", replace_line, detail) for detail in finding.details)
        line = finding.line
        if finding.file and line:
            line = self._find_user_line(finding.file, line)
        return replace(finding, details=details, line=line)

    def _find_user_line(self, file: str, line: int) -> int:
        lines = self.lines.get(file, ())
        return lines[line - 1] if line <= len(lines) else line


def merge_edits(emitted: Files, folder: Path, sample: Files) -> MergedFiles:
    """The sample's files with the edits of `folder`, which was emitted as `emitted`.

    Raises NotProvable where an edit cannot be merged.
    """
    merged, sizes = MergedFiles(dict(sample)), _find_sizes(emitted, sample)
    present = (*folder.glob("*.py"), *(folder / "runtime").rglob("*.py"))
    names = {name for name in emitted if name.endswith(".py")}
    for name in sorted(names | {str(path.relative_to(folder)) for path in present if path.is_file()}):
        path = folder / name
        if not path.is_file():
            raise NotProvable(f"`{name}` is missing in `{folder}`: there is nothing to run")
        user, base, ours = path.read_bytes(), emitted.get(name), sample.get(name)
        if user == base:
            continue
        _check_sizes(name, _split_lines(name, base or b""), _split_lines(name, user), sizes)
        if base is None or base == ours:
            merged.files[name] = user
        elif ours is None:
            raise NotProvable(
                f"`{name}` was edited, and the program that is run in its place lacks that file"
            )
        else:
            merge = _Merge(name, *(_split_lines(name, each) for each in (base, user, ours)))
            merged.files[name], merged.lines[name] = "".join(merge.text).encode(), merge.lines
    return merged


class _Merge:
    """The merge of one file: `text` has the merged lines, `lines` the user's line of each."""

    def __init__(self, name: str, base: Lines, user: Lines, ours: Lines) -> None:
        self.name, self.base, self.user, self.ours = name, base, user, ours
        self.to_ours = _match_lines(_mask_numbers(base), _mask_numbers(ours)) | {len(base): len(ours), -1: -1}
        to_user = _match_lines(base, user)
        self.to_user = {mine: to_user[line] for line, mine in self.to_ours.items() if line in to_user}
        self.text, self.lines = list[str](), list[int]()
        done = 0
        for low, high, start, end in _iterate_changes(base, user):
            here, after = self._find_range(low, high, start)
            self._copy(done, here)
            replaced = self._merge_block((low, high), (here, after), (start, end))
            self.text += replaced
            self.lines += [min(start + number, end - 1) + 1 for number in range(len(replaced))]
            done = after
        self._copy(done, len(ours))

    def _copy(self, start: int, end: int) -> None:
        """Takes lines of the sample that no edit touches."""
        self.text += self.ours[start:end]
        self.lines += [self.to_user.get(number, number) + 1 for number in range(start, end)]

    def _find_range(self, low: int, high: int, start: int) -> tuple[int, int]:
        """The sample's lines that correspond to the emitted lines [low, high)."""
        if low == high:  # added lines: behind the line before, else ahead of the line after
            before, after = self.to_ours.get(low - 1), self.to_ours.get(low)
            at = before + 1 if before is not None else after
            if at is not None:
                return at, at
        else:
            found = [self.to_ours.get(number) for number in range(low, high)]
            first = found[0]
            if first is not None and found == list(range(first, first + high - low)):
                return first, first + high - low
        raise _refuse_edit(
            self.name, self.user, start, "it is among lines that the smaller program does not have"
        )

    def _merge_block(
        self, base: tuple[int, int], ours: tuple[int, int], user: tuple[int, int]
    ) -> Sequence[str]:
        """The user's lines, with the sample's numbers where the emitted ones were."""
        old, kept, new = self.base[slice(*base)], self.ours[slice(*ours)], self.user[slice(*user)]
        if old == kept or not old:
            return new
        merged = _merge_tokens(*(_split_tokens("".join(lines)) for lines in (old, new, kept)))
        if merged is None:
            why = "it changes a number that has another value in the smaller program"
            raise _refuse_edit(self.name, self.user, user[0], why)
        return merged.splitlines(keepends=True)


def _merge_tokens(base: Lines, user: Lines, ours: Lines) -> str | None:
    """The edit from `base` to `user`, made in `ours`, which equals `base` but for its numbers."""
    if _mask_numbers(base) != _mask_numbers(ours):
        return None
    out, done = list[str](), 0
    for low, high, start, end in _iterate_changes(base, user):
        if base[low:high] != ours[low:high]:
            return None
        out += [*ours[done:low], *user[start:end]]
        done = high
    return "".join([*out, *ours[done:]])


def _find_sizes(emitted: Files, sample: Files) -> set[str]:
    """The integers that have another value in the sample, in any file."""
    found = set[str]()
    for name in emitted.keys() & sample.keys():
        if name.endswith(".py") and emitted[name] != sample[name]:
            base, ours = (_split_lines(name, files[name]) for files in (emitted, sample))
            for one, other in _match_lines(_mask_numbers(base), _mask_numbers(ours)).items():
                pairs = zip(_list_numbers([base[one]]), _list_numbers([ours[other]]), strict=True)
                found |= {mine for mine, its in pairs if mine != its and mine.isdigit()}
    return found


def _check_sizes(name: str, base: Lines, user: Lines, sizes: Set[str]) -> None:
    """Refuses an edit that adds a number which is a size of the plan, with another value in the sample."""
    for low, high, start, end in _iterate_changes(base, user):
        added = Counter(_list_numbers(user[start:end])) - Counter(_list_numbers(base[low:high]))
        if named := sorted(sizes & added.keys()):
            line = next(n for n in range(start, end) if named[0] in _list_numbers(user[n : n + 1]))
            why = f"{named[0]} is a size that has another value in the smaller program"
            raise _refuse_edit(name, user, line, why)


def _refuse_edit(name: str, user: Lines, line: int, why: str) -> NotProvable:
    text = user[line].strip() if line < len(user) else "the end of the file"
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}.."
    return NotProvable(f"the edit at {name}:{line + 1} (`{shown}`) cannot be merged: {why}")


def _split_lines(name: str, content: bytes) -> list[str]:
    try:
        return content.decode().splitlines(keepends=True)
    except UnicodeDecodeError as fault:
        line = content[: fault.start].count(b"\n") + 1
        message = f"`{name}` is not UTF-8 at line {line}: its edits cannot be merged"
        raise NotProvable(message) from fault


def _split_tokens(text: str) -> list[str]:
    return re.findall(r"[^\W\d]\w*|\d[\d._eE]*|\s+|.", text)


def _list_numbers(lines: Lines) -> list[str]:
    return re.findall(NUMBER, "".join(lines))


def _mask_numbers(texts: Lines) -> list[str]:
    """The texts without their numbers, and without the types that a precision brings."""
    return [re.sub(rf"{NUMBER}|\bfloat(?:32|64)\b|\bbfloat16\b", "#", text) for text in texts]


def _match_lines(one: Lines, other: Lines) -> dict[int, int]:
    """The line of `other` that equals each line of `one`, as far as there is one."""
    blocks = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    return {block.a + number: block.b + number for block in blocks for number in range(block.size)}


def _iterate_changes(one: Lines, other: Lines) -> Iterator[tuple[int, int, int, int]]:
    """(low, high, start, end) where [low, high) of `one` became [start, end) of `other`."""
    for kind, low, high, start, end in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        if kind != "equal":
            yield low, high, start, end
