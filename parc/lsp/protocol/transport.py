"""Messages over standard input and output: framed by headers, handled one after the other."""

from __future__ import annotations

import asyncio
import signal
import sys
import traceback
from concurrent.futures import CancelledError
from threading import Thread
from typing import BinaryIO

from pygls.exceptions import JsonRpcParseError

from parc.lsp.protocol.server import Server

LENGTH = b"content-length:"
MAX_HEADER = 4096  # bytes of a line
MAX_BODY = 64 * 2**20  # bytes: thirty times the JSON of the largest file of a workspace


class Output:
    """Where pygls writes messages."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream

    def write(self, data: bytes) -> None:
        self.stream.write(data)
        self.stream.flush()

    def close(self) -> None:
        self.stream.close()


def read_body(stream: BinaryIO) -> bytes | None:
    """The body of the next message; None at the end of the stream.

    Raises ValueError if the header has no valid length. A header may begin in the middle of a line, after a
    body whose length was not known.
    """
    length = None
    while line := stream.readline(MAX_HEADER):
        at = line.lower().rfind(LENGTH)
        if at >= 0:
            digits = line[at + len(LENGTH) :].strip()
            length = int(digits) if digits.isdigit() and len(digits) < 20 else -1
        elif not line.strip() and length is not None:
            break
    if length is None:
        return None
    if not 0 <= length <= MAX_BODY:
        raise ValueError(f"a message has a Content-Length from 0 to {MAX_BODY:,}")
    body = stream.read(length)
    return body if len(body) == length else None


async def serve(server: Server, stream: BinaryIO) -> int:
    """Handle the messages of a client until it ends or a signal comes; the exit status."""
    loop, session = asyncio.get_running_loop(), Session(server)
    if sys.platform != "win32":
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, session.end, 128 + number)
    Thread(target=_read_messages, args=(stream, session, loop), daemon=True).start()
    await session.ended.wait()
    return session.status


class Session:
    """The messages of one client."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.ended = asyncio.Event()
        self.status = 0

    def end(self, status: int) -> None:
        self.status = status
        self.ended.set()

    async def handle(self, body: bytes | None, fault: str) -> None:
        """Handle a message; `fault` says why it could not be read. Without both, the stream has ended."""
        protocol = self.server.protocol
        try:
            if fault:
                protocol.refuse(None, JsonRpcParseError(fault))
            elif body is None:
                self.ended.set()
            else:
                protocol.receive(body)
        except BrokenPipeError:
            self.end(1)
        except Exception:  # noqa: BLE001 - one message does not end the others
            traceback.print_exc()
        if protocol.exit_status is not None:
            self.end(protocol.exit_status)
        await asyncio.sleep(0)  # to what waits, such as diagnostics


def _read_messages(stream: BinaryIO, session: Session, loop: asyncio.AbstractEventLoop) -> None:
    """Read until the stream ends, in a thread of its own: reading blocks."""
    more = True
    while more:
        body, fault = None, ""
        try:
            body = read_body(stream)
        except ValueError as reason:
            fault = str(reason)
        more = body is not None or bool(fault)
        try:
            asyncio.run_coroutine_threadsafe(session.handle(body, fault), loop).result()
        except (RuntimeError, CancelledError):  # the loop has ended
            return
