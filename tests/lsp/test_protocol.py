"""Messages out of order, malformed messages and signals are answered as the protocol says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("pygls", reason="`pip install 'parc-compiler[lsp]'` has the server's library")

from benchmarks.client import PATIENCE, ROOT
from parc.lsp.main import build_server
from tests.lsp.editing import SEED

INITIALIZE: dict[str, Any] = {"processId": None, "rootUri": None, "capabilities": {}}


class Pipe:
    """A server, and the bytes that go to it and come from it."""

    def __init__(self) -> None:
        self.server = subprocess.Popen(
            [sys.executable, "-m", "parc", "lsp"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert self.server.stdin
        self.stdin = self.server.stdin

    def write(self, data: bytes) -> None:
        self.stdin.write(data)
        self.stdin.flush()

    def send(self, body: object) -> None:
        data = json.dumps(body).encode()
        self.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)

    def begin(self, id: int, method: str, params: Any = None) -> None:
        self.send({"jsonrpc": "2.0", "id": id, "method": method, "params": params})

    def tell(self, method: str, params: Any = None) -> None:
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def read(self) -> dict[str, Any]:
        stream = self.server.stdout
        assert stream
        length = 0
        while header := stream.readline().strip():
            if header.lower().startswith(b"content-length:"):
                length = int(header.split(b":")[1])
        answer: dict[str, Any] = json.loads(stream.read(length))
        return answer

    def read_error(self) -> tuple[int | str | None, int]:
        answer = self.read()
        return answer["id"], answer["error"]["code"]

    def initialize(self) -> None:
        self.begin(1, "initialize", INITIALIZE)
        assert "result" in self.read()
        self.tell("initialized", {})

    def end(self, status: int) -> None:
        """The server ends with this status; nothing that it wrote on standard error is a traceback."""
        _, errors = self.server.communicate(timeout=PATIENCE)
        assert b"Traceback" not in errors
        assert self.server.returncode == status


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.server.kill()
    pipe.server.communicate()


def test_requests_before_initialize_are_refused(pipe: Pipe) -> None:
    pipe.begin(1, "textDocument/hover", {"textDocument": {"uri": "file:///a.parc"}})
    assert pipe.read_error() == (1, -32002)
    pipe.begin(2, "shutdown")
    assert pipe.read_error() == (2, -32002)
    document = {"uri": "file:///a.parc", "languageId": "parc", "version": 1, "text": SEED}
    pipe.tell("textDocument/didOpen", {"textDocument": document})  # a notification is dropped
    pipe.initialize()
    pipe.begin(3, "textDocument/documentSymbol", {"textDocument": {"uri": "file:///a.parc"}})
    assert pipe.read()["result"] == []
    pipe.tell("exit")
    pipe.end(1)


def test_a_second_initialize_and_requests_after_shutdown_are_invalid(pipe: Pipe) -> None:
    pipe.initialize()
    pipe.begin(2, "initialize", INITIALIZE)
    assert pipe.read_error() == (2, -32600)
    pipe.begin(3, "shutdown")
    assert pipe.read() == {"jsonrpc": "2.0", "id": 3, "result": None}
    pipe.begin(4, "workspace/symbol", {"query": ""})
    assert pipe.read_error() == (4, -32600)
    pipe.begin(5, "shutdown")
    assert pipe.read_error() == (5, -32600)
    pipe.tell("exit")
    pipe.end(0)


@pytest.mark.parametrize("initialized", [False, True])
def test_exit_without_shutdown_is_an_error(pipe: Pipe, initialized: bool) -> None:
    if initialized:
        pipe.initialize()
    pipe.tell("exit")
    pipe.end(1)


def test_headers_without_a_length_are_refused_and_the_next_message_is_read(pipe: Pipe) -> None:
    body = b'{"jsonrpc": "2.0", "id": 9, "method": "shutdown"}'
    for length in (b"-5", b"abc", b"", b"1e3", b"9" * 30, b"9" * 12):
        pipe.write(b"Content-Length: " + length + b"\r\n\r\n" + body)
        assert pipe.read_error() == (None, -32700)
    pipe.write(b"garbage\r\nmore: garbage\r\n\r\n\r\n\xff\xfe\0\r\n")
    pipe.write(b"content-length: 2\r\nContent-Type: application/vscode-jsonrpc\r\n\r\n{}")
    assert pipe.read_error() == (None, -32600)
    pipe.initialize()
    pipe.begin(2, "shutdown")
    pipe.read()
    pipe.tell("exit")
    pipe.end(0)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff\xff", -32700),
        (b"[" * 100_000, -32700),
        (b"[]", -32600),
        (b"1", -32600),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "initialize"}', -32600),
        (b'{"jsonrpc": "2.0", "id": [], "method": "initialize"}', -32600),
        (b'{"jsonrpc": "2.0", "method": 3}', -32600),
        (b'{"jsonrpc": "2.0"}', -32600),
    ],
    ids=lambda each: str(each)[:20],
)
def test_bodies_that_are_no_messages_are_refused(body: bytes, code: int) -> None:
    """By the function that handles them: no process is needed."""

    protocol, sent = build_server().protocol, []
    protocol._send_data = sent.append  # type: ignore[method-assign]
    protocol.receive(body)
    assert [(each["id"], each["error"]["code"]) for each in sent] == [(None, code)]


def test_requests_with_other_parameters_are_refused(pipe: Pipe) -> None:
    pipe.begin(1, "initialize", {"capabilities": 3})
    assert pipe.read_error() == (1, -32602)
    pipe.initialize()
    for id, (method, params) in enumerate(
        (
            ("textDocument/hover", {"textDocument": 3}),
            ("textDocument/hover", None),
            ("parc/picture", {}),
            ("parc/highlight", {"textDocument": {"uri": "file:///a"}, "position": 1}),
            ("parc/placement", {"textDocument": {"uri": "file:///a"}, "plan": "a", "rank": "b"}),
            ("parc/page", None),
            ("workspace/executeCommand", {"command": "parc.picture", "arguments": [{}]}),
            ("workspace/executeCommand", {"command": "other"}),
        ),
        10,
    ):
        pipe.begin(id, method, params)
        assert pipe.read_error() == (id, -32602), method
    pipe.begin(50, "textDocument/unknown", {})
    assert pipe.read_error() == (50, -32601)
    for id, uri in enumerate(
        ("", "file:///a\0b", "file://[", "untitled:Untitled-1", "//", "file:///%00"), 60
    ):
        pipe.begin(id, "textDocument/documentSymbol", {"textDocument": {"uri": uri}})
        assert pipe.read() == {"jsonrpc": "2.0", "id": id, "result": []}
    pipe.tell("exit")
    pipe.end(1)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_at_once(pipe: Pipe, number: signal.Signals) -> None:
    pipe.initialize()
    pipe.server.send_signal(number)
    assert pipe.server.wait(PATIENCE) == 128 + number  # its client still holds the pipe
    pipe.end(128 + number)
