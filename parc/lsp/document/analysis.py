"""The analysis of a plan file in the editor: its trees, its plans, its diagnostics."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from parc.check.costs import Costs
from parc.check.incremental import Places, locate
from parc.check.load import Loaded
from parc.lsp.document.edits import Edit, apply_edits
from parc.plan.blocks import Plan, Spanned
from parc.plan.imports import HARDWARE, HARDWARE_PREFIX
from parc.source import Source, Span
from parc.syntax import tree


@dataclass(frozen=True, eq=False)
class Analysis:
    """What is known of one version of a plan file.

    The spans of nodes and plans are in parts of the texts; `locate` gives the same span in its whole text.
    """

    path: Path  # the path under which the client knows the file
    real_path: Path
    source: Source
    version: int | None  # the client's; None if the file is not open
    number: int  # no other analysis has the same
    loaded: Loaded
    files: Mapping[
        Path, tree.File
    ]  # the trees of the file and of all that it imports, by real path, in order
    places: Places
    load_text: Callable[[Path, str], Loaded]

    @property
    def file(self) -> tree.File:
        """The tree of the file itself."""
        return self.files[self.real_path]

    @property
    def is_unread(self) -> bool:
        """Whether the text exceeds a limit of size, so that nothing of it was parsed."""
        return self.file.unread

    @property
    def plans(self) -> tuple[Plan, ...]:
        """The plans of the file itself that could be read."""
        return self.loaded.plans

    def find_costs(self, plan: Plan) -> Costs:
        """What one of the plans costs."""
        return next(each for each in self.loaded.costs if each.plan is plan)

    def locate(self, span: Span) -> Span:
        """The span in its whole text."""
        return locate(self.places, span)

    def covers(self, node: tree.Node | tree.Body | Spanned, offset: int) -> bool:
        """Whether the offset is in the node, or right after it."""
        span = self.locate(node.span)
        return span.source is self.source and span.start <= offset <= span.end

    def load_edited(self, edits: Iterable[Edit]) -> Loaded:
        """The file as it would be after these edits."""
        return self.load_text(self.path, apply_edits(self.source.text, edits))

    def get_source(self, path: Path) -> Source:
        """The text of the file, or of one that it imports, by its real path."""
        return self.files[path].source

    def find_import(self, span: Span | None) -> Span:
        """The import that leads to a span in another file; without one, the first character of this file."""
        wanted = resolve_path(span.source.path) if span else None
        for name, path in list_imports(self.real_path, self.file):
            if wanted in self._list_reachable(path, set()):
                return self.locate(name.span)
        return self.source.make_span(0, min(1, len(self.source.text)))

    def _list_reachable(self, path: Path, seen: set[Path]) -> set[Path]:
        """The file and all that it imports."""
        if path in self.files and path not in seen:
            seen.add(path)
            for _, inner in list_imports(path, self.files[path]):
                self._list_reachable(inner, seen)
        return seen

    def find_block(self, offset: int) -> tree.Block | None:
        """The top-level block at the offset."""
        for statement in self.file.statements:
            if isinstance(statement, tree.Block) and self.covers(statement, offset):
                return statement
        return None

    def find_plan(self, offset: int) -> Plan | None:
        """The plan whose block has the offset; outside of all plans, the only plan of the file."""
        block = self.find_block(offset)
        if block and block.kind.text == "plan":
            return next((plan for plan in self.plans if plan.span == block.span), None)
        return self.plans[0] if len(self.plans) == 1 else None


def list_imports(path: Path, file: tree.File) -> Iterator[tuple[tree.String, Path]]:
    """The imports of the file at `path`, with the real path of each, whether or not the file exists."""
    for statement in file.statements:
        if isinstance(statement, tree.Import) and isinstance(statement.path, tree.String):
            name = statement.path.value
            if name.startswith(HARDWARE_PREFIX):
                yield statement.path, resolve_path(name)
            else:
                try:
                    target = resolve_path(str(path.parent / name))
                except ValueError:  # no file has such a name: a null, half of a surrogate pair
                    continue
                yield statement.path, target


def resolve_path(path: str) -> Path:
    """The real path of a file; known hardware is in files of parc itself."""
    if path.startswith(HARDWARE_PREFIX):
        return HARDWARE / f"{path.removeprefix(HARDWARE_PREFIX)}.parc"
    return Path(os.path.realpath(path))
