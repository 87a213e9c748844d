"""Text to tree. A fault of the text becomes a diagnostic, never an exception; the rest is parsed."""

from __future__ import annotations

from parc.diagnostic import Diagnostic
from parc.source import Source
from parc.syntax import tree
from parc.syntax.build import Builder
from parc.syntax.recover import Recovery
from parc.syntax.scan import scan


def parse(source: Source) -> tuple[tree.File, tuple[Diagnostic, ...]]:
    """A plan file."""
    faults: list[Diagnostic] = []
    recovery = Recovery(source, scan(source, faults), "file", faults)
    parsed = recovery.parse()
    return Builder(source, recovery.dropped).file(parsed), tuple(faults)


def parse_override(source: Source) -> tuple[tree.Assignment | None, tuple[Diagnostic, ...]]:
    """One `--set PATH=VALUE`; None where it is faulty."""
    faults: list[Diagnostic] = []
    recovery = Recovery(source, scan(source, faults), "override", faults)
    parsed = recovery.parse_strictly()
    if faults or parsed is None:
        return None, tuple(faults)
    return Builder(source, recovery.dropped).assignment(parsed), ()
