"""Our values to the protocol's, in the client's encoding and as far as the client understands them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import unquote, urlsplit

from lsprotocol import types
from pygls.uris import from_fs_path, to_fs_path

from parc.diagnostic import Diagnostic, Severity
from parc.lsp.document.analysis import Analysis, Edit, real
from parc.lsp.document.positions import Encoding, offset, position
from parc.lsp.edits.code_actions import Action
from parc.lsp.language import docs
from parc.lsp.language.annotations import Lens
from parc.lsp.language.completion import Item
from parc.lsp.language.outline import Outlined
from parc.lsp.language.semantic_tokens import MODIFIERS, TYPES, Token
from parc.lsp.language.signature_help import Signature
from parc.source import Source, Span

SEVERITIES = {
    Severity.ERROR: types.DiagnosticSeverity.Error,
    Severity.WARNING: types.DiagnosticSeverity.Warning,
    Severity.INFO: types.DiagnosticSeverity.Information,
}
UNNECESSARY = {"P123", "P202", "P302"}  # what could go: devices that are idle, axes that carry nothing
SYMBOLS = {
    "train": types.SymbolKind.Class,
    "plan": types.SymbolKind.Class,
    "model": types.SymbolKind.Class,
    "let": types.SymbolKind.Constant,
    "key": types.SymbolKind.Property,
    "claim": types.SymbolKind.Boolean,
}
COMPLETIONS = {
    "block": types.CompletionItemKind.Class,
    "key": types.CompletionItemKind.Property,
    "value": types.CompletionItemKind.Value,
    "name": types.CompletionItemKind.Reference,
    "unit": types.CompletionItemKind.Unit,
    "file": types.CompletionItemKind.File,
    "keyword": types.CompletionItemKind.Keyword,
    "figure": types.CompletionItemKind.Field,
}
Shown: TypeAlias = Literal["hover", "completion", "signature"]  # where there is prose
HOLE = re.compile(r"\$(?:[0-9]|\{[0-9]:([^}]*)\})")


class Convert:
    """`uris` remembers how the client writes the addresses of its files, `asked` of each file the last one.

    `markdown` has where the client shows that; elsewhere it gets plain words.
    """

    def __init__(self) -> None:
        self.encoding: Encoding = "utf-16"
        self.uris: dict[Path, str] = {}
        self.asked: dict[Path, str] = {}  # by real paths
        self.markdown: set[Shown] = set()
        self.snippets = False
        self.related = False
        self.versioned = False
        self.tags = False
        self.pages = docs.PAGES

    # Places

    def path(self, uri: str) -> Path:
        """The path of an address, links in it kept; what is not in a file yet has one that no file has."""
        name = to_fs_path(uri) if urlsplit(uri).scheme == "file" else None
        path = Path(name) if name else Path(f"/{unquote(uri)}")
        self.uris[path] = self.asked[real(str(path))] = uri
        return path

    def uri(self, path: Path) -> str:
        """The address of a path as the client wrote it."""
        return self.uris.get(path) or self.of_file(real(str(path)))

    def of_file(self, file: Path) -> str:
        """The address under which the client asked for a file, of which this is the real path."""
        return self.asked.get(file) or from_fs_path(str(file)) or str(file)

    def offset(self, source: Source, place: types.Position) -> int:
        return offset(source, (place.line, place.character), self.encoding)

    def stretch(self, source: Source, of: types.Range) -> tuple[int, int]:
        return self.offset(source, of.start), self.offset(source, of.end)

    def position(self, source: Source, at: int) -> types.Position:
        return types.Position(*position(source, at, self.encoding))

    def range(self, span: Span) -> types.Range:
        source = span.source
        return types.Range(self.position(source, span.start), self.position(source, span.end))

    def location(self, span: Span) -> types.Location:
        shown = span.source.path
        address = self.uris.get(Path(shown)) or self.of_file(real(shown))
        return types.Location(address, self.range(span))

    # Diagnostics

    def diagnostics(self, analysis: Analysis) -> list[types.Diagnostic]:
        """Of the file; those of what it imports stand where it imports that."""
        return [self.diagnostic(analysis, each) for each in analysis.loaded.diagnostics]

    def diagnostic(self, analysis: Analysis, of: Diagnostic) -> types.Diagnostic:
        span, elsewhere = of.span, False
        if span is None or span.source is not analysis.source:
            elsewhere, span = True, analysis.imported_at(span)
        others = [label for label in of.labels if elsewhere or label.span != of.span]
        tags = [types.DiagnosticTag.Unnecessary] if self.tags and of.code in UNNECESSARY else None
        return types.Diagnostic(
            range=self.range(span),
            message=message(of, analysis.source, with_places=not self.related),
            severity=SEVERITIES[of.severity],
            code=of.code,
            code_description=types.CodeDescription(self.pages.replace("{code}", of.code)),
            source="parc",
            tags=tags,
            related_information=[
                types.DiagnosticRelatedInformation(self.location(label.span), label.text or of.message)
                for label in others
            ]
            if self.related and others
            else None,
        )

    # Edits

    def edits(self, source: Source, edits: Iterable[Edit]) -> list[types.TextEdit]:
        return [types.TextEdit(self.range(source.span(*each[:2])), each[2]) for each in edits]

    def workspace_edit(
        self, found: dict[Path, list[types.TextEdit]], versions: dict[str, int]
    ) -> types.WorkspaceEdit:
        """Of files, by their real paths; `versions` are those of the open ones, by address."""
        edits = {self.of_file(file): each for file, each in found.items()}
        if not self.versioned:
            return types.WorkspaceEdit(changes=edits)
        return types.WorkspaceEdit(
            document_changes=[
                types.TextDocumentEdit(
                    types.OptionalVersionedTextDocumentIdentifier(uri, versions.get(uri)), each
                )
                for uri, each in edits.items()
            ]
        )

    def action(self, analysis: Analysis, action: Action, versions: dict[str, int]) -> types.CodeAction:
        edits = {path: self.edits(analysis.text_of(path), each) for path, each in action.edits.items()}
        mends = [self.diagnostic(analysis, action.mends)] if action.mends else None
        return types.CodeAction(
            title=action.title,
            kind=action.kind,
            diagnostics=mends,
            is_preferred=(action.kind == "quickfix" and action.safe) or None,
            edit=self.workspace_edit(edits, versions),
        )

    # What is shown

    def hover(self, text: str) -> types.MarkupContent:
        if "hover" in self.markdown:
            return types.MarkupContent(types.MarkupKind.Markdown, text)
        return types.MarkupContent(types.MarkupKind.PlainText, plain(text))

    def doc(self, text: str, shown: Shown) -> types.MarkupContent | str | None:
        if text and shown in self.markdown:
            return types.MarkupContent(types.MarkupKind.Markdown, text)
        return plain(text) or None

    def item(self, source: Source, item: Item) -> types.CompletionItem:
        snippet = item.snippet and self.snippets
        text = item.insert if snippet else HOLE.sub(r"\1", item.insert)
        return types.CompletionItem(
            label=item.label,
            kind=COMPLETIONS[item.kind],
            detail=item.detail or None,
            documentation=self.doc(item.doc, "completion"),
            sort_text=f"{item.order:03}",
            filter_text=source.text[item.start : item.end] if item.kind == "unit" else text.split("$")[0],
            insert_text_format=types.InsertTextFormat.Snippet if snippet else None,
            text_edit=types.TextEdit(self.range(source.span(item.start, item.end)), text),
        )

    def symbol(self, outlined: Outlined) -> types.DocumentSymbol:
        return types.DocumentSymbol(
            name=outlined.label,
            detail=outlined.detail,
            kind=SYMBOLS.get(outlined.kind, types.SymbolKind.Struct),
            range=self.range(outlined.span),
            selection_range=self.range(outlined.name),
            children=[self.symbol(each) for each in outlined.inside] or None,
        )

    def signature(self, found: Signature) -> types.SignatureHelp:
        parameters = [
            types.ParameterInformation(label, self.doc(doc, "signature")) for label, doc in found.keys
        ]
        information = types.SignatureInformation(
            found.label, self.doc(found.doc, "signature"), parameters, active_parameter=found.active
        )
        return types.SignatureHelp([information], active_signature=0, active_parameter=found.active)

    def lens(self, path: Path, lens: Lens) -> types.CodeLens:
        data = {"uri": self.uri(path), "plan": lens.plan, "kind": lens.kind}
        return types.CodeLens(self.range(lens.span), data=data)

    def command(self, data: dict[str, str], title: str) -> types.Command:
        """Of a lens; one that only tells has no name."""
        name = f"parc.{data['kind']}" if data["kind"] in ("picture", "build") else ""
        return types.Command(title, name, arguments=[{"uri": data["uri"], "plan": data["plan"]}])

    def tokens(self, source: Source, tokens: Sequence[Token]) -> types.SemanticTokens:
        data: list[int] = []
        line, character = 0, 0
        for token in tokens:
            start, end = (position(source, at, self.encoding) for at in (token.start, token.end))
            if start[0] != line:
                character = 0
            data += [start[0] - line, start[1] - character, end[1] - start[1]]
            data += [TYPES.index(token.type), 1 if token.declares else 0]
            line, character = start
        return types.SemanticTokens(data)


LEGEND = types.SemanticTokensLegend(list(TYPES), list(MODIFIERS))


def plain(markdown: str) -> str:
    return re.sub(r"^```\w*\n?|\*\*", "", markdown, flags=re.M)


def message(of: Diagnostic, here: Source, with_places: bool) -> str:
    """All that it says; the other places in words, for clients that cannot show them."""
    primary = next((label.text for label in of.labels if label.span == of.span), "")
    lines = [of.message, *([primary] if primary and primary not in of.message else [])]
    if with_places:
        others = [label for label in of.labels if label.span != of.span or label.span.source is not here]
        lines += [f"{_named(label.span, here)}: {label.text or of.message}" for label in others]
    return "\n".join([*lines, *of.notes, *([f"help: {of.help}"] if of.help else [])])


def _named(span: Span, here: Source) -> str:
    line = f"line {span.line}"
    return line if span.source is here else f"{Path(span.source.path).name}, {line}"
