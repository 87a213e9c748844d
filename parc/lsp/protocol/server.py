"""The server: what it keeps of a client, and how diagnostics get there."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Generator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol, lsp_method

from parc.lsp.document.analysis import Analysis
from parc.lsp.document.project import Project
from parc.lsp.protocol.convert import Convert

LONGEST_PAUSE = 0.1  # seconds that typing may go on before it is looked at
SHARE = 0.25  # of the time that looking takes, that is waited for more typing before


class Protocol(LanguageServerProtocol):
    """Texts are the project's: pygls keeps none, and does not apply edits, whose places may not exist."""

    def structure_message(self, data: dict[str, Any]) -> Any:
        """A request that cannot be understood, like one for the line -1, has its answer too."""
        try:
            return super().structure_message(data)
        except JsonRpcException as fault:
            if "id" in data and "method" in data:
                self._send_response(data["id"], error=fault.to_response_error())
            raise

    @lsp_method(types.SHUTDOWN)
    def lsp_shutdown(self, params: None) -> Handled:
        """What is under way is cancelled from a copy: a future that ends leaves the dictionary."""
        for id, future in list(self._request_futures.items()):
            if id != self.msg_id:  # this one
                future.cancel()
        yield from super().lsp_shutdown(params)

    @lsp_method(types.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: types.DidOpenTextDocumentParams) -> Handled:
        yield self.fm.features[types.TEXT_DOCUMENT_DID_OPEN], (params,), None

    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> Handled:
        yield self.fm.features[types.TEXT_DOCUMENT_DID_CHANGE], (params,), None

    @lsp_method(types.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: types.DidCloseTextDocumentParams) -> Handled:
        yield self.fm.features[types.TEXT_DOCUMENT_DID_CLOSE], (params,), None


Handled = Generator[Any, Any, None]


def _version() -> str:
    try:
        return version("parc-compiler")
    except PackageNotFoundError:  # a bare checkout
        return "unknown"


def _logged(task: asyncio.Task[None]) -> None:
    """Nobody waits for it: a fault of ours is told in the log."""
    if not task.cancelled() and (fault := task.exception()):
        logging.getLogger(__name__).error("diagnostics were not sent", exc_info=fault)


class Server(LanguageServer):
    def __init__(self) -> None:
        super().__init__("parc", _version(), protocol_cls=Protocol)
        self.project = Project()
        self.convert = Convert()
        self.trusted = False
        self.runs: frozenset[str] = frozenset()  # commands that the client knows how to run
        self.pulls = False  # the client asks for diagnostics; else they are pushed
        self.refreshes = False
        self.pause = 0.0
        self.pending: asyncio.Task[None] | None = None
        self.builds: set[asyncio.subprocess.Process] = set()
        self.watch: asyncio.Task[None] | None = None
        self.told: dict[Path, int] = {}  # of each file, the analysis that the client has last heard of

    def end_builds(self) -> None:
        """None outlives the server."""
        for process in self.builds:
            with suppress(ProcessLookupError):
                process.kill()

    def analysis(self, uri: str) -> Analysis | None:
        return self.project.analysis(self.convert.path(uri))

    def at(self, uri: str, place: types.Position) -> tuple[Analysis, int] | None:
        """What is known of a file, and the offset of a place in it."""
        analysis = self.analysis(uri)
        return (analysis, self.convert.offset(analysis.source, place)) if analysis else None

    @property
    def versions(self) -> dict[str, int]:
        """Of the texts that are open, by address."""
        return {self.convert.uri(path): each.version for path, each in self.project.open.items()}

    def changed(self, path: Path | None = None) -> None:
        """A text has, here or on the disk: diagnostics follow, once no other change has come for a moment."""
        if self.pending:
            self.pending.cancel()
        self.pending = asyncio.ensure_future(self.ask(path) if self.pulls else self.refresh())
        self.pending.add_done_callback(_logged)

    def untold(self) -> list[Path]:
        """The open files of which the client has not heard what there is to say now."""
        numbers = {path: self.project.number(path) for path in self.project.open}
        return [path for path, number in numbers.items() if number is None or number != self.told.get(path)]

    async def refresh(self) -> None:
        """Push the diagnostics of every file that has others than were pushed."""
        await asyncio.sleep(self.pause)
        begun = time.monotonic()
        for path in self.untold():
            analysis = self.project.analysis(path)
            if analysis:
                self.told[path] = analysis.number
                self.publish(path, self.convert.diagnostics(analysis), analysis.version)
            await asyncio.sleep(0)  # a newer change cancels the rest
        for path in self.told.keys() - self.project.open.keys():
            del self.told[path]
            self.publish(path, [], None)
        self.pause = min(SHARE * (time.monotonic() - begun), LONGEST_PAUSE)

    def publish(self, path: Path, diagnostics: list[types.Diagnostic], version: int | None) -> None:
        self.text_document_publish_diagnostics(
            types.PublishDiagnosticsParams(self.convert.uri(path), diagnostics, version)
        )

    async def ask(self, path: Path | None) -> None:
        """Have the client pull again what it does not by itself, which it does for the file that it edits."""
        await asyncio.sleep(self.pause)
        if self.refreshes and set(self.untold()) - {path}:
            await self.workspace_diagnostic_refresh_async(None)

    def forget(self, path: Path) -> None:
        """A file on the disk has changed."""
        self.project.changed(path)
        self.changed()
