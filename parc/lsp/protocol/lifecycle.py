"""A client comes, opens and edits files, and goes; or it dies."""

from __future__ import annotations

import asyncio
import gc
import os
import sys

from lsprotocol import types
from pygls.capabilities import get_capability

from parc.lsp.document.positions import changed
from parc.lsp.protocol import commands
from parc.lsp.protocol import handlers as features
from parc.lsp.protocol.convert import Shown
from parc.lsp.protocol.server import Server

WATCH = 5.0  # seconds between two looks whether the client still lives
PLANS = "**/*.parc"
MARKUP: dict[Shown, str] = {
    "hover": "hover.content_format",
    "completion": "completion.completion_item.documentation_format",
    "signature": "signature_help.signature_information.documentation_format",
}


def server() -> Server:
    new = Server()
    register(new)
    features.register(new)
    commands.register(new)
    return new


def register(server: Server) -> None:
    _life(server)
    _texts(server)


def _life(server: Server) -> None:
    @server.feature(types.INITIALIZE)
    def initialize(params: types.InitializeParams) -> None:
        _configure(server, params)
        if params.process_id and sys.platform != "win32":  # there, signal 0 would end the client
            server.watch = asyncio.ensure_future(_watch(server, params.process_id))

    @server.feature(types.INITIALIZED)
    def initialized(_: types.InitializedParams) -> None:
        workspace = server.client_capabilities.workspace
        watched = workspace and workspace.did_change_watched_files
        if watched and watched.dynamic_registration:
            options = types.DidChangeWatchedFilesRegistrationOptions([types.FileSystemWatcher(PLANS)])
            method = types.WORKSPACE_DID_CHANGE_WATCHED_FILES
            registration = types.Registration("parc.watch", method, options)
            server.client_register_capability(types.RegistrationParams([registration]))


def _texts(server: Server) -> None:
    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def did_open(params: types.DidOpenTextDocumentParams) -> None:
        document = params.text_document
        path = server.convert.path(document.uri)
        server.project.edit(path, document.text, document.version)
        server.changed(path)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def did_change(params: types.DidChangeTextDocumentParams) -> None:
        path = server.convert.path(params.text_document.uri)
        for change in params.content_changes:
            opened = server.project.open.get(path)
            text = change.text
            if opened and isinstance(change, types.TextDocumentContentChangePartial):
                start, end = change.range.start, change.range.end
                places = (start.line, start.character), (end.line, end.character)
                text = changed(opened.source, *places, text, server.convert.encoding)
            server.project.edit(path, text, params.text_document.version)
        server.changed(path)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    def did_save(params: types.DidSaveTextDocumentParams) -> None:
        server.forget(server.convert.path(params.text_document.uri))

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def did_close(params: types.DidCloseTextDocumentParams) -> None:
        server.project.close(server.convert.path(params.text_document.uri))
        server.changed()

    @server.feature(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    def did_change_folders(params: types.DidChangeWorkspaceFoldersParams) -> None:
        folders, convert = server.project.folders, server.convert
        gone = {convert.path(each.uri) for each in params.event.removed}
        come = [convert.path(each.uri) for each in params.event.added]
        folders[:] = dict.fromkeys([*(each for each in folders if each not in gone), *come])

    @server.feature(types.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def did_change_watched(params: types.DidChangeWatchedFilesParams) -> None:
        for change in params.changes:
            server.forget(server.convert.path(change.uri))


def _configure(server: Server, params: types.InitializeParams) -> None:
    """By what the client can, and what it wants."""
    convert, can = server.convert, params.capabilities
    document, workspace = can.text_document, can.workspace
    options = params.initialization_options
    options = options if isinstance(options, dict) else {}
    server.trusted = options.get("trusted") is True
    if isinstance(pages := options.get("pages"), str):
        convert.pages = pages
    commands = options.get("commands")
    if isinstance(commands, list):
        server.runs = frozenset(str(each).removeprefix("parc.") for each in commands)
    folders = [folder.uri for folder in params.workspace_folders or ()]
    if not folders and params.root_uri:
        folders = [params.root_uri]
    server.project.folders = [convert.path(uri) for uri in folders]
    convert.encoding = features.encoding(can)
    if document:
        publish = document.publish_diagnostics
        convert.related = bool(publish and publish.related_information) or document.diagnostic is not None
        convert.tags = bool(publish and publish.tag_support) or document.diagnostic is not None
        convert.markdown = {
            shown
            for shown, where in MARKUP.items()
            if types.MarkupKind.Markdown in (get_capability(can, f"text_document.{where}") or ())
        }
        item = document.completion and document.completion.completion_item
        convert.snippets = bool(item and item.snippet_support)
        server.pulls = document.diagnostic is not None
    if workspace:
        convert.versioned = bool(workspace.workspace_edit and workspace.workspace_edit.document_changes)
        server.refreshes = bool(workspace.diagnostics and workspace.diagnostics.refresh_support)
    if server.pulls:
        features.register_pull(server)


async def _watch(server: Server, client: int) -> None:
    """End with the client, even where another process keeps its pipe open."""
    while True:
        await asyncio.sleep(WATCH)
        try:
            os.kill(client, 0)
        except ProcessLookupError:
            server.end_builds()
            os._exit(1)
        except OSError:  # it lives, and is another user's
            continue


def main() -> int:
    """Until the client goes. What else is printed goes to standard error: standard output is the client's."""
    gc.set_threshold(
        700, 10, 1000
    )  # trees and plans have no cycles: a look at all of them finds nothing, in 90 ms
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    sys.stdout = sys.stderr
    new = server()
    try:
        new.start_io(stdout=answers)
    finally:
        new.end_builds()
    return 0
