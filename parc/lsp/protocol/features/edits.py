"""Features that edit: code actions, formatting of a file, a range, and while typing."""

from __future__ import annotations

from lsprotocol import types

from parc.lsp.edits.code_actions import FIX_ALL, Action, build_fix_all, list_actions
from parc.lsp.edits.formatting import format_file, format_range, format_typed
from parc.lsp.protocol.server import Server

ACTION_KINDS = [types.CodeActionKind.QuickFix, types.CodeActionKind.RefactorRewrite, FIX_ALL]


def register(server: Server) -> None:
    converter = server.converter

    @server.feature(types.TEXT_DOCUMENT_CODE_ACTION, types.CodeActionOptions(ACTION_KINDS))
    def code_action(params: types.CodeActionParams) -> list[types.CodeAction]:
        analysis = server.analyse(params.text_document.uri)
        if analysis is None:
            return []
        wanted = [_name_kind(kind) for kind in params.context.only or ("",)]
        found: list[Action] = []
        if any(_is_within(kind, wanted) for kind in ("quickfix", "refactor.rewrite")):
            found += list_actions(analysis, *converter.to_offsets(analysis.source, params.range))
        if _is_within(FIX_ALL, wanted) and (all_safe := build_fix_all(analysis)):
            found.append(all_safe)
        return [
            converter.to_code_action(analysis, each, server.versions)
            for each in found
            if _is_within(each.kind, wanted)
        ]

    @server.feature(types.TEXT_DOCUMENT_FORMATTING)
    def formatting(params: types.DocumentFormattingParams) -> list[types.TextEdit]:
        analysis = server.analyse(params.text_document.uri)
        return converter.to_text_edits(analysis.source, format_file(analysis)) if analysis else []

    @server.feature(types.TEXT_DOCUMENT_RANGE_FORMATTING)
    def range_formatting(params: types.DocumentRangeFormattingParams) -> list[types.TextEdit]:
        analysis = server.analyse(params.text_document.uri)
        if analysis is None:
            return []
        edits = format_range(analysis, *converter.to_offsets(analysis.source, params.range))
        return converter.to_text_edits(analysis.source, edits)

    @server.feature(
        types.TEXT_DOCUMENT_ON_TYPE_FORMATTING,
        types.DocumentOnTypeFormattingOptions("}", ["]", ")", "\n"]),
    )
    def on_type_formatting(params: types.DocumentOnTypeFormattingParams) -> list[types.TextEdit]:
        found = server.locate(params.text_document.uri, params.position)
        return converter.to_text_edits(found[0].source, format_typed(*found, params.ch)) if found else []


def _name_kind(kind: types.CodeActionKind | str) -> str:
    return kind.value if isinstance(kind, types.CodeActionKind) else kind


def _is_within(kind: str, wanted: list[str]) -> bool:
    """Whether a kind is one of these or below one: `source` includes `source.fixAll`, "" all."""
    return any(each in ("", kind) or kind.startswith(f"{each}.") for each in wanted)
