"""One value for everything that parc tells about a file; each face (terminal, editor, report) renders it.

Codes: P0xx syntax, P1xx names, types and units, P2xx counts and divisibility, P3xx axes and strategies,
P4xx understood but not built yet, P5xx building, P6xx running.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from parc.record import dataclass
from parc.source import Span


class Severity(Enum):
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Label(NamedTuple):
    """A guilty place and what it has to do with the fault. The primary one is where the fault is reported."""

    span: Span
    text: str = ""
    primary: bool = True


class Fix(NamedTuple):
    """Edits that mend the fault. A safe one does not change what is meant."""

    title: str
    edits: tuple[tuple[Span, str], ...]
    safe: bool = True


@dataclass(frozen=True, slots=True)
class Diagnostic:
    code: str
    severity: Severity
    message: str
    labels: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    help: str | None = None
    fix: Fix | None = None

    @property
    def span(self) -> Span | None:
        """Where the fault is reported: its first primary label. None: it has no place in a file."""
        for label in self.labels:
            if label.primary:
                return label.span
        return self.labels[0].span if self.labels else None


def error(
    code: str,
    message: str,
    *labels: Label,
    notes: tuple[str, ...] = (),
    help: str | None = None,
    fix: Fix | None = None,
) -> Diagnostic:
    """The common case."""
    return Diagnostic(code, Severity.ERROR, message, labels, notes, help, fix)


def has_errors(diagnostics: Iterable[Diagnostic]) -> bool:
    return any(diagnostic.severity is Severity.ERROR for diagnostic in diagnostics)
