"""Features of whole files: symbols, folding ranges, links, semantic tokens."""

from __future__ import annotations

from lsprotocol import types

from parc.lsp.language.outline import list_foldings, list_links, outline_file
from parc.lsp.language.semantic_tokens import list_tokens
from parc.lsp.protocol.results import LEGEND, convert_symbol, convert_tokens, find_symbol_kind
from parc.lsp.protocol.server import Server


def register(server: Server) -> None:
    converter = server.converter

    @server.feature(types.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    def document_symbol(params: types.DocumentSymbolParams) -> list[types.DocumentSymbol]:
        analysis = server.analyse(params.text_document.uri)
        return [convert_symbol(converter, each) for each in outline_file(analysis)] if analysis else []

    @server.feature(types.WORKSPACE_SYMBOL)
    def workspace_symbol(params: types.WorkspaceSymbolParams) -> list[types.WorkspaceSymbol]:
        query = params.query.lower()
        return [
            types.WorkspaceSymbol(
                location=converter.to_location(each.name), name=each.label, kind=find_symbol_kind(each)
            )
            for analysis in server.files.analyse_all()
            for each in outline_file(analysis)
            if query in each.label.lower()
        ]

    @server.feature(types.TEXT_DOCUMENT_FOLDING_RANGE)
    def folding_range(params: types.FoldingRangeParams) -> list[types.FoldingRange]:
        analysis = server.analyse(params.text_document.uri)
        comment = types.FoldingRangeKind.Comment
        return [
            types.FoldingRange(first, last, kind=comment if is_comment else None)
            for first, last, is_comment in (list_foldings(analysis) if analysis else ())
        ]

    @server.feature(types.TEXT_DOCUMENT_DOCUMENT_LINK)
    def document_link(params: types.DocumentLinkParams) -> list[types.DocumentLink]:
        analysis = server.analyse(params.text_document.uri)
        return [
            types.DocumentLink(converter.to_range(span), converter.to_uri(path))
            for span, path in (list_links(analysis) if analysis else ())
        ]

    @server.feature(types.TEXT_DOCUMENT_SEMANTIC_TOKENS_FULL, LEGEND)
    def semantic_tokens(params: types.SemanticTokensParams) -> types.SemanticTokens:
        analysis = server.analyse(params.text_document.uri)
        if analysis is None:
            return types.SemanticTokens([])
        return convert_tokens(converter, analysis.source, list_tokens(analysis))

    @server.feature(types.TEXT_DOCUMENT_SEMANTIC_TOKENS_RANGE, LEGEND)
    def semantic_tokens_range(params: types.SemanticTokensRangeParams) -> types.SemanticTokens:
        analysis = server.analyse(params.text_document.uri)
        if analysis is None:
            return types.SemanticTokens([])
        tokens = list_tokens(analysis, *converter.to_offsets(analysis.source, params.range))
        return convert_tokens(converter, analysis.source, tokens)
