"""From a file, or a text, to plans and everything there is to say about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from parc.diagnostic import Diagnostic, has_errors
from parc.plan.facts import Launch, Plan
from parc.plan.imports import Imports, read
from parc.plan.overrides import override
from parc.plan.resolve.files import Resolver
from parc.source import Source


@dataclass(frozen=True, slots=True)
class Loaded:
    """`plans` are those of the file itself that could be resolved: to be believed where there is no error."""

    plans: tuple[Plan, ...]
    launches: tuple[Launch, ...]
    diagnostics: tuple[Diagnostic, ...]
    sources: tuple[Source, ...]  # the file first, then what it imports

    @property
    def ok(self) -> bool:
        return not has_errors(self.diagnostics)


def load(path: Path, overrides: Sequence[str] = ()) -> Loaded:
    """Read, resolve and check a plan file. A user's fault is a diagnostic, never an exception."""
    source = read(path)
    if isinstance(source, Diagnostic):
        return Loaded((), (), (source,), ())
    return load_text(source, overrides)


def load_text(source: Source, overrides: Sequence[str] = ()) -> Loaded:
    """The same for a text at hand; what it imports is looked for beside `source.path`."""
    faults: list[Diagnostic] = []
    files = Imports(source, faults).files
    resolver = Resolver(override(files, overrides, faults), faults)
    sources = tuple(file.source for file in files)
    return Loaded(resolver.plans, resolver.launches, tuple(faults), sources)
