"""Features of a name and its file: type definition, highlights, linked editing."""

from __future__ import annotations

from lsprotocol import types

from parc.lsp.document.mentions import find_mention
from parc.lsp.edits.linked import list_linked, list_same
from parc.lsp.language.types import find_type
from parc.lsp.protocol.server import Server
from parc.source import Span


def register(server: Server) -> None:
    converter = server.converter

    @server.feature(types.TEXT_DOCUMENT_TYPE_DEFINITION)
    def type_definition(params: types.TypeDefinitionParams) -> types.Location | None:
        found = server.locate(params.text_document.uri, params.position)
        mention = find_mention(*found) if found else None
        target = find_type(found[0], mention.symbol) if found and mention else None
        if target is None or isinstance(target, Span):
            return converter.to_location(target) if target else None
        start = types.Position(target.line, 0)
        return types.Location(converter.find_file_uri(target.path), types.Range(start, start))

    @server.feature(types.TEXT_DOCUMENT_DOCUMENT_HIGHLIGHT)
    def document_highlight(params: types.DocumentHighlightParams) -> list[types.DocumentHighlight]:
        found = server.locate(params.text_document.uri, params.position)
        mention = find_mention(*found) if found else None
        kinds = types.DocumentHighlightKind
        return [
            types.DocumentHighlight(
                converter.to_range(each.span), kinds.Write if each.is_definition else kinds.Read
            )
            for each in (list_same(found[0], mention) if found and mention else ())
        ]

    @server.feature(types.TEXT_DOCUMENT_LINKED_EDITING_RANGE)
    def linked_editing_range(params: types.LinkedEditingRangeParams) -> types.LinkedEditingRanges | None:
        found = server.locate(params.text_document.uri, params.position)
        mention = find_mention(*found) if found else None
        linked = list_linked(server.files, found[0], mention) if found and mention else []
        ranges = [converter.to_range(each.span) for each in linked]
        return types.LinkedEditingRanges(ranges) if ranges else None
