"""Features beside the text: inlay hints, code lenses, pages of rules."""

from __future__ import annotations

from lsprotocol import types

from parc.lsp.language.code_lenses import format_title, list_lenses
from parc.lsp.language.inlay_hints import list_hints
from parc.lsp.language.schema_docs import find_page
from parc.lsp.protocol.results import build_command, convert_lens
from parc.lsp.protocol.server import Server


def register(server: Server) -> None:
    converter = server.converter

    @server.feature(types.TEXT_DOCUMENT_INLAY_HINT)
    def inlay_hint(params: types.InlayHintParams) -> list[types.InlayHint]:
        analysis = server.analyse(params.text_document.uri)
        if analysis is None:
            return []
        source = analysis.source
        return [
            types.InlayHint(
                converter.to_position(source, each.offset), each.text, tooltip=each.tip, padding_left=True
            )
            for each in list_hints(analysis, *converter.to_offsets(source, params.range))
        ]

    @server.feature(types.CODE_LENS_RESOLVE)
    def code_lens_resolve(lens: types.CodeLens) -> types.CodeLens:
        data = lens.data
        if isinstance(data, dict) and (analysis := server.analyse(data["uri"])):
            lens.command = build_command(data, format_title(analysis, data["kind"], data["plan"]))
        return lens

    @server.feature(types.TEXT_DOCUMENT_CODE_LENS, types.CodeLensOptions(resolve_provider=True))
    def code_lens(params: types.CodeLensParams) -> list[types.CodeLens]:
        analysis = server.analyse(params.text_document.uri)
        if analysis is None:
            return []
        lenses = list_lenses(analysis, converter.client.commands, converter.client.trusted)
        return [convert_lens(converter, analysis.path, each) for each in lenses]

    @server.feature(types.WORKSPACE_TEXT_DOCUMENT_CONTENT, types.TextDocumentContentOptions(schemes=["parc"]))
    def rule_page(params: types.TextDocumentContentParams) -> types.TextDocumentContentResult:
        return types.TextDocumentContentResult(find_page(params.uri) or "")
