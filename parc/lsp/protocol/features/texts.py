"""The client opens, edits and closes texts; files and folders change."""

from __future__ import annotations

from lsprotocol import types

from parc.lsp.document.positions import replace_range
from parc.lsp.protocol.server import Server


def register(server: Server) -> None:
    converter, files = server.converter, server.files

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def did_open(params: types.DidOpenTextDocumentParams) -> None:
        document = params.text_document
        path = converter.to_path(document.uri)
        files.set_text(path, document.text, document.version)
        server.schedule_diagnostics(path)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def did_change(params: types.DidChangeTextDocumentParams) -> None:
        path = converter.to_path(params.text_document.uri)
        for change in params.content_changes:
            opened = files.open_files.get(path)
            text = change.text
            if opened and isinstance(change, types.TextDocumentContentChangePartial):
                start, end = change.range.start, change.range.end
                positions = (start.line, start.character), (end.line, end.character)
                text = replace_range(opened.source, *positions, text, converter.client.encoding)
            files.set_text(path, text, params.text_document.version)
        server.schedule_diagnostics(path)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    def did_save(params: types.DidSaveTextDocumentParams) -> None:
        server.reload_file(converter.to_path(params.text_document.uri))

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def did_close(params: types.DidCloseTextDocumentParams) -> None:
        files.close(converter.to_path(params.text_document.uri))
        server.schedule_diagnostics()

    @server.feature(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    def did_change_folders(params: types.DidChangeWorkspaceFoldersParams) -> None:
        removed = {converter.to_path(each.uri) for each in params.event.removed}
        added = [converter.to_path(each.uri) for each in params.event.added]
        kept = (each for each in files.folders if each not in removed)
        files.folders[:] = dict.fromkeys([*kept, *added])

    @server.feature(types.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def did_change_watched(params: types.DidChangeWatchedFilesParams) -> None:
        for change in params.changes:
            server.reload_file(converter.to_path(change.uri))
