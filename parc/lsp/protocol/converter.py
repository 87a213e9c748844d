"""Converts places, diagnostics and edits to the types of the protocol."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lsprotocol import types
from pygls.uris import from_fs_path, to_fs_path

from parc.diagnostic import Diagnostic, Severity
from parc.lsp.document.analysis import Analysis, resolve_path
from parc.lsp.document.edits import Edit
from parc.lsp.document.positions import find_offset, find_position
from parc.lsp.edits.code_actions import Action
from parc.lsp.protocol.client import Client
from parc.source import Source, Span

SEVERITIES = {
    Severity.ERROR: types.DiagnosticSeverity.Error,
    Severity.WARNING: types.DiagnosticSeverity.Warning,
    Severity.INFO: types.DiagnosticSeverity.Information,
}
UNNECESSARY = {"P123", "P202", "P302"}  # of what can be removed: idle devices, axes that carry nothing


class Converter:
    """Converts for one client, in its encoding and with the addresses that it uses for files."""

    def __init__(self) -> None:
        self.client = Client()
        self.uris: dict[Path, str] = {}  # as the client writes them
        self.uris_by_file: dict[Path, str] = {}  # by real path, the last one that the client used

    # Places

    def to_path(self, uri: str) -> Path:
        """The path of an address, with its links. A text that is in no file gets a path that no file has."""
        try:
            name = to_fs_path(uri) if urlsplit(uri).scheme == "file" else None
        except ValueError:  # not an address
            name = None
        path = Path((name or f"/{unquote(uri)}").replace("\0", "\ufffd"))
        self.uris[path] = self.uris_by_file[resolve_path(str(path))] = uri
        return path

    def to_uri(self, path: Path) -> str:
        """The address of a path as the client writes it."""
        return self.uris.get(path) or self.find_file_uri(resolve_path(str(path)))

    def find_file_uri(self, file: Path) -> str:
        """The address that the client last used for the file with this real path."""
        return self.uris_by_file.get(file) or from_fs_path(str(file)) or str(file)

    def to_offset(self, source: Source, position: types.Position) -> int:
        return find_offset(source, (position.line, position.character), self.client.encoding)

    def to_offsets(self, source: Source, range: types.Range) -> tuple[int, int]:
        return self.to_offset(source, range.start), self.to_offset(source, range.end)

    def to_position(self, source: Source, offset: int) -> types.Position:
        return types.Position(*find_position(source, offset, self.client.encoding))

    def to_range(self, span: Span) -> types.Range:
        source = span.source
        return types.Range(self.to_position(source, span.start), self.to_position(source, span.end))

    def to_location(self, span: Span) -> types.Location:
        path = span.source.path
        uri = self.uris.get(Path(path)) or self.find_file_uri(resolve_path(path))
        return types.Location(uri, self.to_range(span))

    # Diagnostics

    def to_diagnostics(self, analysis: Analysis) -> list[types.Diagnostic]:
        """All diagnostics of the file. Those of imported files are placed at their import."""
        return [self.to_diagnostic(analysis, each) for each in analysis.loaded.diagnostics]

    def to_diagnostic(self, analysis: Analysis, diagnostic: Diagnostic) -> types.Diagnostic:
        span, elsewhere = diagnostic.span, False
        if span is None or span.source is not analysis.source:
            elsewhere, span = True, analysis.find_import(span)
        others = [label for label in diagnostic.labels if elsewhere or label.span != diagnostic.span]
        related = self.client.related_information
        unnecessary = self.client.diagnostic_tags and diagnostic.code in UNNECESSARY
        page = self.client.rule_pages.replace("{code}", diagnostic.code)
        return types.Diagnostic(
            range=self.to_range(span),
            message=format_message(diagnostic, analysis.source, with_places=not related),
            severity=SEVERITIES[diagnostic.severity],
            code=diagnostic.code,
            code_description=types.CodeDescription(page),
            source="parc",
            tags=[types.DiagnosticTag.Unnecessary] if unnecessary else None,
            related_information=[
                types.DiagnosticRelatedInformation(
                    self.to_location(label.span), label.text or diagnostic.message
                )
                for label in others
            ]
            if related and others
            else None,
        )

    # Edits

    def to_text_edits(self, source: Source, edits: Iterable[Edit]) -> list[types.TextEdit]:
        return [
            types.TextEdit(self.to_range(source.make_span(start, end)), text) for start, end, text in edits
        ]

    def to_workspace_edit(
        self, edits: dict[Path, list[types.TextEdit]], versions: dict[str, int]
    ) -> types.WorkspaceEdit:
        """`edits` are by real path; `versions` are those of open files, by address."""
        by_uri = {self.find_file_uri(file): each for file, each in edits.items()}
        if not self.client.versioned_edits:
            return types.WorkspaceEdit(changes=by_uri)
        return types.WorkspaceEdit(
            document_changes=[
                types.TextDocumentEdit(
                    types.OptionalVersionedTextDocumentIdentifier(uri, versions.get(uri)), each
                )
                for uri, each in by_uri.items()
            ]
        )

    def to_code_action(
        self, analysis: Analysis, action: Action, versions: dict[str, int]
    ) -> types.CodeAction:
        edits = {
            path: self.to_text_edits(analysis.get_source(path), each) for path, each in action.edits.items()
        }
        fixed = [self.to_diagnostic(analysis, action.diagnostic)] if action.diagnostic else None
        return types.CodeAction(
            title=action.title,
            kind=action.kind,
            diagnostics=fixed,
            is_preferred=(action.kind == "quickfix" and action.safe) or None,
            edit=self.to_workspace_edit(edits, versions),
        )


def format_message(diagnostic: Diagnostic, here: Source, with_places: bool) -> str:
    """All texts of a diagnostic; `with_places`, other labels too, for clients that show no related places."""
    primary = next((label.text for label in diagnostic.labels if label.span == diagnostic.span), "")
    lines = [diagnostic.message, *([primary] if primary and primary not in diagnostic.message else [])]
    if with_places:
        lines += [
            f"{_name_place(label.span, here)}: {label.text or diagnostic.message}"
            for label in diagnostic.labels
            if label.span != diagnostic.span or label.span.source is not here
        ]
    return "\n".join([*lines, *diagnostic.notes, *([f"help: {diagnostic.help}"] if diagnostic.help else [])])


def _name_place(span: Span, here: Source) -> str:
    line = f"line {span.line}"
    return line if span.source is here else f"{Path(span.source.path).name}, {line}"
