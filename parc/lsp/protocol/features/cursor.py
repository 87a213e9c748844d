"""Features at the cursor: completion, hover, signature help, selection ranges."""

from __future__ import annotations

from lsprotocol import types

from parc.lsp.completion.complete import complete
from parc.lsp.hover.hover import describe_word
from parc.lsp.language.outline import list_selections
from parc.lsp.language.signature_help import find_signature
from parc.lsp.protocol.results import convert_hover, convert_item, convert_signature
from parc.lsp.protocol.server import Server

COMPLETION_TRIGGERS = ["{", "[", "(", "=", ",", ":", ".", '"', " "]


def register(server: Server) -> None:
    converter = server.converter

    @server.feature(types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(COMPLETION_TRIGGERS))
    def completion(params: types.CompletionParams) -> types.CompletionList | None:
        if not (found := server.locate(params.text_document.uri, params.position)):
            return None
        items = [convert_item(converter, found[0].source, each) for each in complete(*found)]
        return types.CompletionList(is_incomplete=False, items=items)

    @server.feature(types.TEXT_DOCUMENT_HOVER)
    def hover(params: types.HoverParams) -> types.Hover | None:
        found = server.locate(params.text_document.uri, params.position)
        described = describe_word(*found) if found else None
        if described is None:
            return None
        text, span = described
        return types.Hover(convert_hover(converter, text), converter.to_range(span))

    @server.feature(types.TEXT_DOCUMENT_SIGNATURE_HELP, types.SignatureHelpOptions(["{", "(", ","]))
    def signature_help(params: types.SignatureHelpParams) -> types.SignatureHelp | None:
        found = server.locate(params.text_document.uri, params.position)
        signature = find_signature(*found) if found else None
        return convert_signature(converter, signature) if signature else None

    @server.feature(types.TEXT_DOCUMENT_SELECTION_RANGE)
    def selection_range(params: types.SelectionRangeParams) -> list[types.SelectionRange]:
        chosen = []
        for position in params.positions:
            if found := server.locate(params.text_document.uri, position):
                outer: types.SelectionRange | None = None
                for span in reversed(list_selections(*found)):
                    outer = types.SelectionRange(converter.to_range(span), outer)
                chosen.append(outer or types.SelectionRange(types.Range(position, position)))
        return chosen
