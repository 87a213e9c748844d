"""The one value for everything that parc reports; terminals, editors and files render it.

Codes: P0xx syntax, P1xx names, types and units, P2xx counts and divisibility, P3xx axes and strategies,
P4xx not supported yet, P5xx building, P6xx running.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from parc.named_tuple import NamedTuple
from parc.record import dataclass
from parc.source import Span


class Severity(Enum):
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Label(NamedTuple):
    """A place that contributes to the fault, and how. The fault is reported at the first primary label."""

    span: Span
    text: str = ""
    primary: bool = True


class Fix(NamedTuple):
    """Edits that resolve the fault. A safe fix does not change the meaning."""

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
        """Where the fault is reported: its first primary label. None if it has no place in a file."""
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
    """A diagnostic of the severity `ERROR`."""
    return Diagnostic(code, Severity.ERROR, message, labels, notes, help, fix)


class CompileError(Exception):
    """A pass of the compiler refuses what the user wrote. The driver, which runs the passes, catches it."""

    def __init__(self, *diagnostics: Diagnostic) -> None:
        super().__init__(*(diagnostic.message for diagnostic in diagnostics))
        self.diagnostics = diagnostics


def has_errors(diagnostics: Iterable[Diagnostic]) -> bool:
    return any(diagnostic.severity is Severity.ERROR for diagnostic in diagnostics)
