"""The plan files of an editor, with an analysis of each, renewed when the file or an import has changed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import count, islice
from pathlib import Path

from parc.check.incremental import History
from parc.check.load import Loaded, load_text
from parc.lsp.document.analysis import Analysis, list_imports, resolve_path
from parc.lsp.document.import_scan import may_import
from parc.lsp.document.positions import normalize_line_ends
from parc.plan.imports import is_safe_to_open, read_source
from parc.source import Source

MAX_FILES = 500  # of a workspace, that are searched for uses of a name,
MAX_FOLDERS = 5_000  # and folders
HIDDEN = {"node_modules", "site-packages", "__pycache__", "venv"}


@dataclass
class OpenFile:
    source: Source
    version: int
    real_path: Path  # by links, one file may be open under several paths


@dataclass
class FileState:
    """What is kept of a file that is open."""

    history: History = field(default_factory=History)
    trials: History | None = None  # of texts that are only tried; it continues from the last reading
    analysis: Analysis | None = None
    dependencies: frozenset[Path] = frozenset()  # files that the analysis depends on, missing ones included


class Workspace:
    """The plan files of a client: those that are open, and those in its folders."""

    def __init__(self) -> None:
        self.open_files: dict[Path, OpenFile] = {}
        self.states: dict[Path, FileState] = {}
        self.folders: list[Path] = []
        self.numbers = count()

    def set_text(self, path: Path, text: str, version: int) -> None:
        """Opens a file, or changes its text. Files that import it read the text that was changed last."""
        self.open_files.pop(path, None)
        self.open_files[path] = OpenFile(
            Source(str(path), normalize_line_ends(text)), version, resolve_path(str(path))
        )
        self.invalidate(path)

    def close(self, path: Path) -> None:
        """Closes a file: from now on its text is that on the disk."""
        self.open_files.pop(path, None)
        self.states.pop(path, None)
        self.invalidate(path)

    def invalidate(self, path: Path) -> None:
        """Discards the analyses of the file and of all files that import it."""
        file = resolve_path(str(path))
        for state in self.states.values():
            if file in state.dependencies:
                state.analysis = None

    def get_analysis_number(self, path: Path) -> int | None:
        """The number of an open file's analysis; None if it is out of date."""
        analysis = self.states.get(path, FileState()).analysis
        return analysis.number if analysis else None

    def analyse(self, path: Path) -> Analysis | None:
        """The analysis of a file; None if the file does not exist or cannot be read."""
        if path not in self.open_files:  # rarely requested: nothing is kept of it
            return self._analyse(path, FileState())
        state = self.states.setdefault(path, FileState())
        return state.analysis or self._analyse(path, state)

    def _analyse(self, path: Path, state: FileState) -> Analysis | None:
        opened = self.open_files.get(path)
        source = self._find_source(path)
        if source is None:
            return None
        state.trials = None
        loaded = load_text(source, texts=self._list_open_texts(), history=state.history)
        files = {resolve_path(shown): file for shown, file in state.history.files.items()}
        state.analysis = Analysis(
            path=path,
            real_path=resolve_path(source.path),
            source=source,
            version=opened.version if opened else None,
            number=next(self.numbers),
            loaded=loaded,
            files=files,
            places=state.history.places,
            load_text=self.load_text,
        )
        imported = (target for path, file in files.items() for _, target in list_imports(path, file))
        state.dependencies = frozenset({*files, *imported})
        return state.analysis

    def load_text(self, path: Path, text: str) -> Loaded:
        """The file as it would be with this text."""
        state = self.states.setdefault(path, FileState())
        if state.trials is None:
            state.trials = state.history.fork()
        return load_text(Source(str(path), text), texts=self._list_open_texts(), history=state.trials)

    def load_with_texts(self, path: Path, texts: Mapping[Path, str]) -> Loaded | None:
        """The file as it would be if real paths had these texts; None if the file cannot be read."""
        file = resolve_path(str(path))
        if path in self.open_files and texts.keys() == {file}:
            return self.load_text(path, texts[file])
        source = Source(str(path), texts[file]) if file in texts else self._find_source(path)
        if source is None:
            return None
        replaced = {str(each): text for each, text in texts.items()}
        return load_text(source, texts={**self._list_open_texts(), **replaced}, tries_fixes=False)

    def _find_source(self, path: Path) -> Source | None:
        """The text in the editor, or that of a regular file: a pipe or a device may never end."""
        if path in self.open_files:
            return self.open_files[path].source
        if (text := self._list_open_texts().get(str(resolve_path(str(path))))) is not None:
            return Source(str(path), text)
        source = read_source(path) if is_safe_to_open(path) else None
        return source if isinstance(source, Source) else None

    def _read_text(self, path: Path) -> str | None:
        source = self._find_source(path)
        return source.text if source else None

    def _list_open_texts(self) -> dict[str, str]:
        return {str(each.real_path): each.source.text for each in self.open_files.values()}

    def analyse_all(self, importing: Path | None = None) -> Iterator[Analysis]:
        """The analysis of every plan file of the workspace, of those that are open first.

        Of those that are not open, all or only `importing`, a real path, and what imports it.
        """
        opened = {each.real_path for each in self.open_files.values()}
        others = [path for path in self._list_plan_files() if path not in opened]
        if importing:
            read_text = cache(self._read_text)
            others = [path for path in others if may_import(read_text, path, importing)]
        for path in dict.fromkeys([*self.open_files, *others]):
            if analysis := self.analyse(path):
                yield analysis

    def _list_plan_files(self) -> Iterator[Path]:
        """The plan files of the workspace folders, up to the limits."""
        walks = (step for folder in self.folders for step in os.walk(folder))
        found = 0
        for folder, inner, names in islice(walks, MAX_FOLDERS):
            inner[:] = sorted(each for each in inner if not each.startswith(".") and each not in HIDDEN)
            for name in sorted(names):
                if name.endswith(".parc") and found < MAX_FILES:
                    found += 1
                    yield resolve_path(os.path.join(folder, name))  # noqa: PTH118  # `os.walk` gives texts
