"""Features of names: definition, references, rename."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from parc.lsp.document.analysis import Analysis
from parc.lsp.document.mentions import Mention, find_definition, find_mention, find_uses, list_analyses
from parc.lsp.edits.rename import is_fixed, refuse_rename
from parc.lsp.protocol.server import Server

Params: TypeAlias = (
    types.DefinitionParams | types.ReferenceParams | types.PrepareRenameParams | types.RenameParams
)


def register(server: Server) -> None:
    converter = server.converter

    def locate_mention(params: Params) -> tuple[Analysis, Mention] | None:
        """The analysis of the file, and the name at the position."""
        found = server.locate(params.text_document.uri, params.position)
        mention = find_mention(*found) if found else None
        return (found[0], mention) if found and mention else None

    @server.feature(types.TEXT_DOCUMENT_DEFINITION)
    def definition(params: types.DefinitionParams) -> types.Location | None:
        found = locate_mention(params)
        defined = find_definition(found[0], found[1].symbol) if found else None
        return converter.to_location(defined.span) if defined else None

    @server.feature(types.TEXT_DOCUMENT_REFERENCES)
    def references(params: types.ReferenceParams) -> list[types.Location]:
        found = locate_mention(params)
        if found is None:
            return []
        analysis, symbol = found[0], found[1].symbol
        uses = find_uses(list_analyses(server.files, analysis, symbol), symbol)
        wanted = params.context.include_declaration
        return [converter.to_location(each.span) for each in uses if wanted or not each.is_definition]

    @server.feature(types.TEXT_DOCUMENT_PREPARE_RENAME)
    def prepare_rename(params: types.PrepareRenameParams) -> types.PrepareRenamePlaceholder | None:
        found = locate_mention(params)
        if found is None or is_fixed(found[0], found[1].symbol):
            return None
        return types.PrepareRenamePlaceholder(converter.to_range(found[1].span), found[1].symbol.name)

    @server.feature(types.TEXT_DOCUMENT_RENAME, types.RenameOptions(prepare_provider=True))
    def rename(params: types.RenameParams) -> types.WorkspaceEdit | None:
        found = locate_mention(params)
        if found is None:
            return None
        analysis, symbol = found[0], found[1].symbol
        analyses = list_analyses(server.files, analysis, symbol)
        if reason := refuse_rename(server.files, analyses, symbol, params.new_name):
            raise JsonRpcInvalidParams(reason)
        edits: dict[Path, list[types.TextEdit]] = {}
        for each in find_uses(analyses, symbol):
            edit = types.TextEdit(converter.to_range(each.span), params.new_name)
            edits.setdefault(each.path, []).append(edit)
        return converter.to_workspace_edit(edits, server.versions)
