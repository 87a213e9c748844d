"""The features of the protocol, each a line or two around a function that knows nothing of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.capabilities import ServerCapabilitiesBuilder
from pygls.exceptions import JsonRpcInvalidParams

from parc.lsp.document import names
from parc.lsp.document.analysis import Edit
from parc.lsp.document.positions import Encoding
from parc.lsp.edits import formatting as layout
from parc.lsp.edits.code_actions import FIX_ALL, Action, actions, fix_all
from parc.lsp.language import docs, outline
from parc.lsp.language.annotations import hints, lenses, title
from parc.lsp.language.completion import complete
from parc.lsp.language.hover import hover
from parc.lsp.language.semantic_tokens import tokens
from parc.lsp.language.signature_help import signature
from parc.lsp.protocol.convert import LEGEND

if TYPE_CHECKING:
    from parc.lsp.protocol.server import Server

ENCODINGS: dict[str, Encoding] = {"utf-8": "utf-8", "utf-16": "utf-16", "utf-32": "utf-32"}


def encoding(can: types.ClientCapabilities) -> Encoding:
    """The one that pygls answers the client with."""
    return ENCODINGS[ServerCapabilitiesBuilder.choose_position_encoding(can)]


def register(server: Server) -> None:
    _at_the_cursor(server)
    _edits(server)
    _names(server)
    _whole_file(server)
    _beside(server)
    _colours(server)


def register_pull(server: Server) -> None:
    options = types.DiagnosticOptions(True, False, "parc")

    @server.feature(types.TEXT_DOCUMENT_DIAGNOSTIC, options)
    async def diagnostic(params: types.DocumentDiagnosticParams) -> Any:
        await asyncio.sleep(0)  # a request that is cancelled already is not worked on
        analysis = server.analysis(params.text_document.uri)
        found = server.convert.diagnostics(analysis) if analysis else []
        if analysis and analysis.path in server.project.open:
            server.told[analysis.path] = analysis.number
        identity = str(analysis.number) if analysis else None
        if identity and params.previous_result_id == identity:
            return types.RelatedUnchangedDocumentDiagnosticReport(identity)
        return types.RelatedFullDocumentDiagnosticReport(found, result_id=identity)


def _at_the_cursor(server: Server) -> None:
    convert = server.convert
    characters = ["{", "[", "(", "=", ",", ":", ".", '"', " "]

    @server.feature(types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(characters))
    def completion(params: types.CompletionParams) -> types.CompletionList | None:
        if not (found := server.at(params.text_document.uri, params.position)):
            return None
        items = [convert.item(found[0].source, each) for each in complete(*found)]
        return types.CompletionList(is_incomplete=False, items=items)

    @server.feature(types.TEXT_DOCUMENT_HOVER)
    def hovered(params: types.HoverParams) -> types.Hover | None:
        found = server.at(params.text_document.uri, params.position)
        said = hover(*found) if found else None
        return types.Hover(convert.hover(said[0]), convert.range(said[1])) if said else None

    @server.feature(types.TEXT_DOCUMENT_SIGNATURE_HELP, types.SignatureHelpOptions(["{", "(", ","]))
    def signature_help(params: types.SignatureHelpParams) -> types.SignatureHelp | None:
        found = server.at(params.text_document.uri, params.position)
        help = signature(*found) if found else None
        return convert.signature(help) if help else None

    @server.feature(types.TEXT_DOCUMENT_SELECTION_RANGE)
    def selection_range(params: types.SelectionRangeParams) -> list[types.SelectionRange]:
        chosen = []
        for place in params.positions:
            if found := server.at(params.text_document.uri, place):
                outer: types.SelectionRange | None = None
                for span in reversed(outline.selections(*found)):
                    outer = types.SelectionRange(convert.range(span), outer)
                chosen.append(outer or types.SelectionRange(types.Range(place, place)))
        return chosen


def _edits(server: Server) -> None:
    convert = server.convert
    kinds = [types.CodeActionKind.QuickFix, types.CodeActionKind.RefactorRewrite, FIX_ALL]

    @server.feature(types.TEXT_DOCUMENT_CODE_ACTION, types.CodeActionOptions(kinds))
    def code_action(params: types.CodeActionParams) -> list[types.CodeAction]:
        analysis = server.analysis(params.text_document.uri)
        if analysis is None:
            return []
        start, end = convert.stretch(analysis.source, params.range)
        wanted = [_text(kind) for kind in params.context.only or ()]
        found: list[Action] = list(actions(analysis, start, end))
        if any(each.fix and each.fix.safe for each in analysis.loaded.diagnostics) and (
            all_safe := fix_all(analysis)
        ):
            found.append(all_safe)
        made = [convert.action(analysis, each, server.versions) for each in found]
        return [each for each in made if not wanted or _within(_text(each.kind), wanted)]

    def laid_out(uri: str, edits: list[Edit]) -> list[types.TextEdit]:
        analysis = server.analysis(uri)
        return convert.edits(analysis.source, edits) if analysis else []

    @server.feature(types.TEXT_DOCUMENT_FORMATTING)
    def formatting(params: types.DocumentFormattingParams) -> list[types.TextEdit]:
        analysis = server.analysis(params.text_document.uri)
        return laid_out(params.text_document.uri, layout.whole(analysis)) if analysis else []

    @server.feature(types.TEXT_DOCUMENT_RANGE_FORMATTING)
    def range_formatting(params: types.DocumentRangeFormattingParams) -> list[types.TextEdit]:
        analysis = server.analysis(params.text_document.uri)
        if analysis is None:
            return []
        start, end = convert.stretch(analysis.source, params.range)
        return laid_out(params.text_document.uri, layout.stretch(analysis, start, end))


def _text(kind: types.CodeActionKind | str | None) -> str:
    return kind.value if isinstance(kind, types.CodeActionKind) else kind or ""


def _within(kind: str, wanted: list[str]) -> bool:
    """Kinds are hierarchical: `source` is all of `source.fixAll`."""
    return any(kind == each or kind.startswith(f"{each}.") for each in wanted)


def _names(server: Server) -> None:
    convert = server.convert

    def mention(uri: str, place: types.Position) -> tuple[Any, names.Mention] | None:
        found = server.at(uri, place)
        there = names.at(*found) if found else None
        return (found[0], there) if found and there else None

    @server.feature(types.TEXT_DOCUMENT_DEFINITION)
    def definition(params: types.DefinitionParams) -> types.Location | None:
        found = mention(params.text_document.uri, params.position)
        defined = names.definition(found[0], found[1].symbol) if found else None
        return convert.location(defined.span) if defined else None

    @server.feature(types.TEXT_DOCUMENT_REFERENCES)
    def references(params: types.ReferenceParams) -> list[types.Location]:
        found = mention(params.text_document.uri, params.position)
        uses = names.uses(server.project, found[0], found[1].symbol) if found else []
        wanted = params.context.include_declaration
        return [convert.location(each.span) for each in uses if wanted or not each.defines]

    @server.feature(types.TEXT_DOCUMENT_PREPARE_RENAME)
    def prepare_rename(params: types.PrepareRenameParams) -> types.PrepareRenamePlaceholder | None:
        found = mention(params.text_document.uri, params.position)
        if found is None or names.fixed(found[0], found[1].symbol):
            return None
        return types.PrepareRenamePlaceholder(convert.range(found[1].span), found[1].symbol.name)

    @server.feature(types.TEXT_DOCUMENT_RENAME, types.RenameOptions(prepare_provider=True))
    def rename(params: types.RenameParams) -> types.WorkspaceEdit | None:
        found = mention(params.text_document.uri, params.position)
        if found is None:
            return None
        analysis, symbol = found[0], found[1].symbol
        if why := names.refusal(server.project, analysis, symbol, params.new_name):
            raise JsonRpcInvalidParams(why)
        edits: dict[Path, list[types.TextEdit]] = {}
        for each in names.uses(server.project, analysis, symbol):
            edit = types.TextEdit(convert.range(each.span), params.new_name)
            edits.setdefault(each.path, []).append(edit)
        return convert.workspace_edit(edits, server.versions)


def _whole_file(server: Server) -> None:
    convert = server.convert

    @server.feature(types.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    def document_symbol(params: types.DocumentSymbolParams) -> list[types.DocumentSymbol]:
        analysis = server.analysis(params.text_document.uri)
        return [convert.symbol(each) for each in outline.symbols(analysis)] if analysis else []

    @server.feature(types.WORKSPACE_SYMBOL)
    def workspace_symbol(params: types.WorkspaceSymbolParams) -> list[types.WorkspaceSymbol]:
        query = params.query.lower()
        return [
            types.WorkspaceSymbol(
                location=convert.location(each.name), name=each.label, kind=convert.symbol(each).kind
            )
            for analysis in server.project.all()
            for each in outline.symbols(analysis)
            if query in each.label.lower()
        ]

    @server.feature(types.TEXT_DOCUMENT_FOLDING_RANGE)
    def folding_range(params: types.FoldingRangeParams) -> list[types.FoldingRange]:
        analysis = server.analysis(params.text_document.uri)
        comment = types.FoldingRangeKind.Comment
        return [
            types.FoldingRange(first, last, kind=comment if comments else None)
            for first, last, comments in (outline.foldings(analysis) if analysis else ())
        ]

    @server.feature(types.TEXT_DOCUMENT_DOCUMENT_LINK)
    def document_link(params: types.DocumentLinkParams) -> list[types.DocumentLink]:
        analysis = server.analysis(params.text_document.uri)
        found = outline.links(analysis) if analysis else ()
        return [types.DocumentLink(convert.range(span), convert.uri(path)) for span, path in found]


def _beside(server: Server) -> None:
    convert = server.convert

    @server.feature(types.TEXT_DOCUMENT_INLAY_HINT)
    def inlay_hint(params: types.InlayHintParams) -> list[types.InlayHint]:
        analysis = server.analysis(params.text_document.uri)
        if analysis is None:
            return []
        start, end = convert.stretch(analysis.source, params.range)
        return [
            types.InlayHint(
                convert.position(analysis.source, each.offset), each.text, tooltip=each.tip, padding_left=True
            )
            for each in hints(analysis, start, end)
        ]

    @server.feature(types.CODE_LENS_RESOLVE)
    def code_lens_resolve(lens: types.CodeLens) -> types.CodeLens:
        data = lens.data
        if isinstance(data, dict) and (analysis := server.analysis(data["uri"])):
            lens.command = convert.command(data, title(analysis, data["kind"], data["plan"]))
        return lens

    @server.feature(types.TEXT_DOCUMENT_CODE_LENS, types.CodeLensOptions(resolve_provider=True))
    def code_lens(params: types.CodeLensParams) -> list[types.CodeLens]:
        analysis = server.analysis(params.text_document.uri)
        found = lenses(analysis, server.runs, server.trusted) if analysis else ()
        return [convert.lens(analysis.path, each) for each in found] if analysis else []


def _colours(server: Server) -> None:
    convert = server.convert

    @server.feature(types.TEXT_DOCUMENT_SEMANTIC_TOKENS_FULL, LEGEND)
    def semantic_tokens(params: types.SemanticTokensParams) -> types.SemanticTokens:
        analysis = server.analysis(params.text_document.uri)
        found = list(tokens(analysis)) if analysis else []
        return convert.tokens(analysis.source, found) if analysis else types.SemanticTokens([])

    @server.feature(types.TEXT_DOCUMENT_SEMANTIC_TOKENS_RANGE, LEGEND)
    def semantic_tokens_range(params: types.SemanticTokensRangeParams) -> types.SemanticTokens:
        analysis = server.analysis(params.text_document.uri)
        if analysis is None:
            return types.SemanticTokens([])
        found = tokens(analysis, *convert.stretch(analysis.source, params.range))
        return convert.tokens(analysis.source, list(found))

    @server.feature(types.WORKSPACE_TEXT_DOCUMENT_CONTENT, types.TextDocumentContentOptions(schemes=["parc"]))
    def page(params: types.TextDocumentContentParams) -> types.TextDocumentContentResult:
        return types.TextDocumentContentResult(docs.of_link(params.uri) or "")
