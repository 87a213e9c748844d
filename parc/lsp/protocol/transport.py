"""Messages over standard input and output: framed by headers, handled one after the other."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
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
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    status = 0

    def end(number: int) -> None:
        nonlocal status
        status = number
        ended.set()

    async def handle(body: bytes | None, fault: str) -> None:
        if body is None and not fault:
            ended.set()
            return
        try:
            if body is None:
                server.protocol.refuse(None, JsonRpcParseError(fault))
            else:
                server.protocol.receive(body)
        except BrokenPipeError:
            end(1)
        if server.protocol.exit_status is not None:
            end(server.protocol.exit_status)
        await asyncio.sleep(0)  # to what waits, such as diagnostics

    def read() -> None:
        """In a thread of its own, since reading blocks."""
        body: bytes | None = b""
        while body is not None:
            fault = ""
            try:
                body = read_body(stream)
            except ValueError as reason:
                body, fault = None, str(reason)
            with suppress(RuntimeError):  # the loop was closed in the meantime
                asyncio.run_coroutine_threadsafe(handle(body, fault), loop).result()
            body = b"" if fault else body

    if sys.platform != "win32":
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end, 128 + number)
    Thread(target=read, daemon=True).start()
    await ended.wait()
    return status
