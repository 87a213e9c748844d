"""The client starts, and ends or dies."""

from __future__ import annotations

import asyncio
import os
import sys

from lsprotocol import types

from parc.lsp.protocol.client import read_client
from parc.lsp.protocol.features import pull
from parc.lsp.protocol.server import Server

WATCH_INTERVAL = 5.0  # seconds
PLAN_FILES = "**/*.parc"


def register(server: Server) -> None:
    @server.feature(types.INITIALIZE)
    def initialize(params: types.InitializeParams) -> None:
        server.converter.client = read_client(params)
        folders = [folder.uri for folder in params.workspace_folders or ()]
        if not folders and params.root_uri:
            folders = [params.root_uri]
        server.files.folders = [server.converter.to_path(uri) for uri in folders]
        if server.converter.client.pulls_diagnostics:
            pull.register(server)
        if params.process_id and sys.platform != "win32":  # there, signal 0 would end the client
            server.watch = asyncio.ensure_future(_watch_client(server, params.process_id))

    @server.feature(types.INITIALIZED)
    def initialized(_: types.InitializedParams) -> None:
        workspace = server.client_capabilities.workspace
        watched = workspace and workspace.did_change_watched_files
        if watched and watched.dynamic_registration:
            options = types.DidChangeWatchedFilesRegistrationOptions([types.FileSystemWatcher(PLAN_FILES)])
            method = types.WORKSPACE_DID_CHANGE_WATCHED_FILES
            registration = types.Registration("parc.watch", method, options)
            server.client_register_capability(types.RegistrationParams([registration]))


async def _watch_client(server: Server, client: int) -> None:
    """Ends the server with its client, even if another process keeps the pipe open."""
    while True:
        await asyncio.sleep(WATCH_INTERVAL)
        try:
            os.kill(client, 0)
        except ProcessLookupError:
            server.kill_builds()
            os._exit(1)
        except OSError:  # it is alive, and another user's
            continue
