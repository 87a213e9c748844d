"""Starts the language server on standard input and output."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys

from pygls.exceptions import JsonRpcException

from parc.lsp.protocol.features import cursor, edits, lifecycle, margins, names, outlines, own, related, texts
from parc.lsp.protocol.server import Server
from parc.lsp.protocol.transport import Output, serve

FEATURES = (lifecycle, texts, cursor, edits, names, related, outlines, margins, own)


def build_server() -> Server:
    """A server with all features."""
    server = Server()
    for feature in FEATURES:
        feature.register(server)
    return server


def main() -> int:
    """Serves until the client ends. Standard output is the client's; prints go to standard error."""
    gc.set_threshold(700, 10, 1000)  # trees and plans have no cycles: a full collection finds none, in 90 ms
    messages, answers = (
        os.fdopen(os.dup(sys.stdin.fileno()), "rb"),
        os.fdopen(os.dup(sys.stdout.fileno()), "wb"),
    )
    sys.stdout = sys.stderr
    handler = logging.StreamHandler()
    handler.addFilter(_drop_traceback)
    logging.basicConfig(level=logging.ERROR, handlers=[handler])
    server = build_server()
    server.protocol.set_writer(Output(answers))
    try:
        status = asyncio.run(serve(server, messages))
    except KeyboardInterrupt:  # where the loop handles no signals
        status = 130
    finally:
        server.kill_builds()
    sys.stderr.flush()
    os._exit(status)  # the thread that reads may wait for a client that sends nothing


def _drop_traceback(record: logging.LogRecord) -> bool:
    """Log a request that was refused in one line; the traceback of a fault of parc itself stays."""
    if record.exc_info and isinstance(record.exc_info[1], JsonRpcException):
        record.exc_info = None
    return True
