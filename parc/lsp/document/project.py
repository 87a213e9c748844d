"""Files that editors have open, and what is known of each: read again when it or an import has changed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path

from parc.check.incremental import Again
from parc.check.load import Loaded, load_text
from parc.lsp.document.analysis import Analysis, imports, real
from parc.lsp.document.positions import normal
from parc.plan.imports import is_safe_to_open, read_source
from parc.source import Source

MOST_FILES = 500  # of a workspace, that are looked through for uses of a name,
MOST_FOLDERS = 5_000  # and folders
HIDDEN = {"node_modules", "site-packages", "__pycache__", "venv"}


@dataclass
class Open:
    """`file` is the real path; by links, one file may be open under several."""

    source: Source
    version: int
    file: Path


@dataclass
class Known:
    """`needs` are the files that the analysis depends on, those among them that were not found too."""

    again: Again = field(default_factory=Again)
    trials: Again = field(default_factory=Again)
    analysis: Analysis | None = None
    needs: frozenset[Path] = frozenset()


class Project:
    def __init__(self) -> None:
        self.open: dict[Path, Open] = {}
        self.known: dict[Path, Known] = {}
        self.folders: list[Path] = []
        self.numbers = count()

    def edit(self, path: Path, text: str, version: int) -> None:
        """A file is open, with this text now; what imports it reads the text that was changed last."""
        self.open.pop(path, None)
        self.open[path] = Open(Source(str(path), normal(text)), version, real(str(path)))
        self.changed(path)

    def close(self, path: Path) -> None:
        self.open.pop(path, None)
        self.known.pop(path, None)
        self.changed(path)

    def changed(self, path: Path) -> None:
        """Forget what was found in the file, and in all that import it."""
        file = real(str(path))
        for known in self.known.values():
            if file in known.needs:
                known.analysis = None

    def number(self, path: Path) -> int | None:
        """Of the analysis of an open file; None where it is to be looked at again."""
        analysis = self.known.get(path, Known()).analysis
        return analysis.number if analysis else None

    def analysis(self, path: Path) -> Analysis | None:
        """None where there is no such file, or none that can be read."""
        if path not in self.open:  # seldom asked for: its trees need not be kept
            return self._analysed(path, Known())
        known = self.known.setdefault(path, Known())
        return known.analysis or self._analysed(path, known)

    def _analysed(self, path: Path, known: Known) -> Analysis | None:
        opened = self.open.get(path)
        source = self._source(path)
        if source is None:
            return None
        loaded = load_text(source, texts=self._texts(), again=known.again)
        files = {real(shown): file for shown, file in known.again.files.items()}
        version = opened.version if opened else None
        known.analysis = Analysis(
            path,
            real(source.path),
            source,
            version,
            next(self.numbers),
            loaded,
            files,
            known.again.places,
            self.trial,
        )
        known.needs = frozenset(
            {*files, *(wanted for path, file in files.items() for _, wanted in imports(path, file))}
        )
        return known.analysis

    def trial(self, path: Path, text: str) -> Loaded:
        """What there would be to say if the file had this text."""
        known = self.known.setdefault(path, Known())
        return load_text(Source(str(path), text), texts=self._texts(), again=known.trials)

    def tried(self, path: Path, texts: Mapping[Path, str]) -> Loaded | None:
        """What there would be to say of a file if these were the texts; None where it cannot be read."""
        file = real(str(path))
        source = Source(str(path), texts[file]) if file in texts else self._source(path)
        if source is None:
            return None
        there = {str(each): text for each, text in texts.items()}
        return load_text(source, texts={**self._texts(), **there})

    def _source(self, path: Path) -> Source | None:
        """The text in the editor, or of a regular file: a pipe or a device may never end."""
        if path in self.open:
            return self.open[path].source
        if (text := self._texts().get(str(real(str(path))))) is not None:
            return Source(str(path), text)
        source = read_source(path) if is_safe_to_open(path) else None
        return source if isinstance(source, Source) else None

    def _texts(self) -> dict[str, str]:
        return {str(each.file): each.source.text for each in self.open.values()}

    def all(self) -> Iterator[Analysis]:
        """Of every plan file of the workspace, those that are open first."""
        there = {each.file for each in self.open.values()}
        for path in dict.fromkeys([*self.open, *(path for path in self._files() if path not in there)]):
            if analysis := self.analysis(path):
                yield analysis

    def _files(self) -> Iterator[Path]:
        """The plan files of the folders, as far as these are not too large to look through."""
        walks = (step for folder in self.folders for step in os.walk(folder))
        found = 0
        for folder, inner, names in islice(walks, MOST_FOLDERS):
            inner[:] = sorted(each for each in inner if not each.startswith(".") and each not in HIDDEN)
            for name in sorted(names):
                if name.endswith(".parc") and found < MOST_FILES:
                    found += 1
                    yield real(os.path.join(folder, name))  # noqa: PTH118  # `os.walk` gives texts
