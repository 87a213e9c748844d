"""Plans that somebody edits at random: typing, cutting, pasting, other values, and taking much of it back."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import NamedTuple

from parc.lsp.document.edits import apply_edits
from parc.syntax.parts import split_text

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
EXAMPLE = {"seed.parc": 8, "quickstart.parc": 8, "classic.parc": 6, "seed-claims.parc": 1}
"""How often each is taken: judging the claims of the last takes ten times as long as all else."""
IMPORTED = "imported.parc"  # there is no such file: closed, it cannot be imported

TAKEN_BACK = 0.45  # of the edits: rubble alone teaches little
IMPORT_CLOSED = 0.04  # or opened again
NUMBER = re.compile(r"[0-9][0-9_.]*")
NUMBERS = ("0", "1", "2", "3", "7", "8", "16", "64", "100", "1_000_000", "2.5", "-1", "8 GB", "90%")
WORD = re.compile(r"[^\W\d]\w*")
PIECES = ["", "", *'{}[]("=,#:a80', "\n", " GB", "x ", "\U0001d54a", "over ", 'import "imported.parc"\n']


class Edit(NamedTuple):
    """Characters of a file become `piece`; where that is None, the file is closed, or opened."""

    path: Path
    start: int
    end: int
    piece: str | None


class Typist:
    """`texts` are those of the files, as they are before the next edit; `open` those that are open."""

    def __init__(self, number: int) -> None:
        self.random = Random(number)
        self.texts = self._files()
        self.open = set(self.texts)
        self.past: list[Edit] = []  # what takes the edits back, the last one last

    def _files(self) -> dict[Path, str]:
        """An example; it and what it imports; or one whose first blocks are in a file of their own."""
        name = self.random.choices([*EXAMPLE], [*EXAMPLE.values()])[0]
        path, text = EXAMPLES / name, (EXAMPLES / name).read_text(encoding="utf-8")
        if self.random.random() < 0.5:
            return {path: text}
        if name == "seed-claims.parc":
            seed = EXAMPLES / "seed.parc"
            return {path: text, seed: seed.read_text(encoding="utf-8")}
        start, _ = self.random.choice(split_text(text)[1:])
        return {path: f'import "{IMPORTED}"\n{text[start:]}', EXAMPLES / IMPORTED: text[:start]}

    def edit(self) -> Edit:
        """The next one, which is in `texts` and in `open` when this returns."""
        *_, last = self.texts
        if len(self.texts) > 1 and self.random.random() < IMPORT_CLOSED:
            self.open ^= {last}
            return Edit(last, 0, 0, None)
        back = self.past and self.past[-1].path in self.open and self.random.random() < TAKEN_BACK
        edit = self.past.pop() if back else self._new(self.random.choice(sorted(self.open)))
        assert edit.piece is not None
        text = self.texts[edit.path]
        if not back:
            inverse = Edit(edit.path, edit.start, edit.start + len(edit.piece), text[edit.start : edit.end])
            self.past.append(inverse)
        self.texts[edit.path] = apply_edits(text, [edit[1:]])  # type: ignore[list-item]  # the piece is a text
        return edit

    def _new(self, path: Path) -> Edit:
        """Another value, another word, or what typing, cutting and pasting leave."""
        random, text = self.random, self.texts[path]
        kind = random.random()
        pattern, others = (NUMBER, list(NUMBERS)) if kind < 0.4 else (WORD, WORD.findall(text))
        places = [found.span() for found in pattern.finditer(text)] if kind < 0.6 else []
        if places:
            return Edit(path, *random.choice(places), random.choice(others))
        start = random.randrange(len(text) + 1)
        end = min(len(text), start + random.choice((0, 0, 0, 1, 1, 2, 30)))
        return Edit(path, start, end, random.choice([*PIECES, text[start:end] * 2, text[-80:]]))
