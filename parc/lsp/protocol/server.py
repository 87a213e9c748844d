"""The language server: its state, and how diagnostics reach the client."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from pathlib import Path

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from parc.lsp.document.analysis import Analysis
from parc.lsp.document.workspace import Workspace
from parc.lsp.protocol.converter import Converter
from parc.lsp.protocol.messages import Protocol
from parc.version import find_version

MAX_PAUSE = 0.1  # seconds to wait for more typing before files are checked
PAUSE_SHARE = 0.25  # the pause as a share of the time that the last check took


class Server(LanguageServer):
    """The server of one client."""

    protocol: Protocol

    def __init__(self) -> None:
        super().__init__("parc", find_version() or "unknown", protocol_cls=Protocol)
        self.files = Workspace()
        self.converter = Converter()
        self.pause = 0.0
        self.pending: asyncio.Task[None] | None = None  # diagnostics that are to be sent
        self.builds: set[asyncio.subprocess.Process] = set()
        self.watch: asyncio.Task[None] | None = None
        self.reported: dict[Path, int] = {}  # by file, the number of the last analysis that the client has

    def kill_builds(self) -> None:
        """Ends the builds that run: none outlives the server."""
        for process in self.builds:
            with suppress(ProcessLookupError):
                process.kill()

    def analyse(self, uri: str) -> Analysis | None:
        """The analysis of a file; None if the file does not exist or cannot be read, or is too large.

        Of a text that exceeds a limit of size, only its diagnostics are known.
        """
        analysis = self.files.analyse(self.converter.to_path(uri))
        return None if analysis is None or analysis.is_unread else analysis

    def locate(self, uri: str, position: types.Position) -> tuple[Analysis, int] | None:
        """The analysis of a file, and the offset of a position in it."""
        analysis = self.analyse(uri)
        return (analysis, self.converter.to_offset(analysis.source, position)) if analysis else None

    @property
    def versions(self) -> dict[str, int]:
        """The versions of open files, by address."""
        return {self.converter.to_uri(path): each.version for path, each in self.files.open_files.items()}

    def reload_file(self, path: Path) -> None:
        """A file has changed on the disk."""
        self.files.invalidate(path)
        self.schedule_diagnostics()

    def schedule_diagnostics(self, edited: Path | None = None) -> None:
        """Sends diagnostics once no other change has come for a moment; `edited` is the file that changed."""
        if self.pending:
            self.pending.cancel()
        pulls = self.converter.client.pulls_diagnostics
        self.pending = asyncio.ensure_future(self.request_pull(edited) if pulls else self.push_diagnostics())
        self.pending.add_done_callback(_log_failure)

    def list_outdated_files(self) -> list[Path]:
        """The open files whose current diagnostics the client does not have."""
        numbers = {path: self.files.get_analysis_number(path) for path in self.files.open_files}
        return [
            path for path, number in numbers.items() if number is None or number != self.reported.get(path)
        ]

    async def push_diagnostics(self) -> None:
        """Pushes the diagnostics of every file for which they have changed."""
        await asyncio.sleep(self.pause)
        begun = time.monotonic()
        for path in self.list_outdated_files():
            analysis = self.files.analyse(path)
            if analysis:
                self.reported[path] = analysis.number
                self.publish(path, self.converter.to_diagnostics(analysis), analysis.version)
            await asyncio.sleep(0)  # a newer change cancels the rest
        for path in self.reported.keys() - self.files.open_files.keys():
            del self.reported[path]
            self.publish(path, [], None)
        self.pause = min(PAUSE_SHARE * (time.monotonic() - begun), MAX_PAUSE)

    def publish(self, path: Path, diagnostics: list[types.Diagnostic], version: int | None) -> None:
        """Pushes the diagnostics of one file."""
        self.text_document_publish_diagnostics(
            types.PublishDiagnosticsParams(self.converter.to_uri(path), diagnostics, version)
        )

    async def request_pull(self, edited: Path | None) -> None:
        """Asks the client to pull again, if other files than the one it edits have changed."""
        await asyncio.sleep(self.pause)
        if self.converter.client.refreshes_diagnostics and set(self.list_outdated_files()) - {edited}:
            await self.workspace_diagnostic_refresh_async(None)


def _log_failure(task: asyncio.Task[None]) -> None:
    """Nothing awaits the task: an exception in it is logged."""
    if not task.cancelled() and (fault := task.exception()) and not isinstance(fault, BrokenPipeError):
        logging.getLogger(__name__).error("diagnostics were not sent", exc_info=fault)
