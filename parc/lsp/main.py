"""Starts the language server on standard input and output."""

from __future__ import annotations

import gc
import os
import sys

from parc.lsp.protocol.features import cursor, edits, lifecycle, margins, names, outlines, own, texts
from parc.lsp.protocol.server import Server

FEATURES = (lifecycle, texts, cursor, edits, names, outlines, margins, own)


def build_server() -> Server:
    """A server with all features."""
    server = Server()
    for feature in FEATURES:
        feature.register(server)
    return server


def main() -> int:
    """Serves until the client ends. Standard output is the client's; prints go to standard error."""
    gc.set_threshold(700, 10, 1000)  # trees and plans have no cycles: a full collection finds none, in 90 ms
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    sys.stdout = sys.stderr
    server = build_server()
    try:
        server.start_io(stdout=answers)
    finally:
        server.kill_builds()
    return 0
