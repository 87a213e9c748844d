"""A language client over the standard input and output of `parc lsp`: enough of one to ask for anything."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).parents[1]
PATIENCE = 60.0  # seconds; an answer takes milliseconds, a machine that is busy may not


class Client:
    """`said` are the notifications that came, in order; requests of the server are answered with nothing."""

    def __init__(self, capabilities: dict[str, Any] | None = None, **options: Any) -> None:
        self.server = subprocess.Popen(
            [sys.executable, "-m", "parc", "lsp"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.came: queue.Queue[dict[str, Any]] = queue.Queue()
        self.said: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.count = 0
        self.versions: dict[str, int] = {}
        threading.Thread(target=self._read, daemon=True).start()
        self.capabilities = self.ask(
            "initialize",
            {
                "processId": os.getpid(),
                "rootUri": options.pop("root", None),
                "capabilities": capabilities or {},
                "initializationOptions": options,
            },
        )["capabilities"]
        self.tell("initialized", {})

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.server.poll() is None:
            if kind is None:
                self.ask("shutdown", None)
                self.tell("exit", None)
                assert self.server.wait(PATIENCE) == 0
            else:
                self.server.kill()
        for stream in (self.server.stdin, self.server.stdout, self.server.stderr):
            assert stream is not None
            stream.close()

    # Messages

    def send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.server.stdin is not None
        self.server.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.server.stdin.flush()

    def tell(self, method: str, params: Any) -> None:
        self.send({"method": method, "params": params})

    def begin(self, method: str, params: Any) -> int:
        self.count += 1
        self.send({"id": self.count, "method": method, "params": params})
        return self.count

    def ask(self, method: str, params: Any) -> Any:
        answer = self.answer(self.begin(method, params))
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def answer(self, id: int) -> dict[str, Any]:
        while True:
            message = self.next()
            if message.get("id") == id and "method" not in message:
                return message

    def next(self, patience: float = PATIENCE) -> dict[str, Any]:
        """The next message; `queue.Empty` where none comes."""
        message = self.came.get(timeout=patience)
        if "method" in message and "id" in message:
            self.asked.append(message)
            self.send({"id": message["id"], "result": None})
        elif "method" in message:
            self.said.append(message)
        return message

    def _read(self) -> None:
        stream = self.server.stdout
        assert stream is not None
        while header := stream.readline():
            length = 0
            while header.strip():
                if header.lower().startswith(b"content-length:"):
                    length = int(header.split(b":")[1])
                header = stream.readline()
            self.came.put(json.loads(stream.read(length)))

    # Texts

    def open(self, uri: str, text: str) -> None:
        self.versions[uri] = 1
        document = {"uri": uri, "languageId": "parc", "version": 1, "text": text}
        self.tell("textDocument/didOpen", {"textDocument": document})

    def change(self, uri: str, *changes: dict[str, Any]) -> int:
        self.versions[uri] += 1
        document = {"uri": uri, "version": self.versions[uri]}
        self.tell("textDocument/didChange", {"textDocument": document, "contentChanges": list(changes)})
        return self.versions[uri]

    def pushed(self, uri: str, version: int | None = None) -> list[dict[str, Any]]:
        """The diagnostics that are pushed for a file; of a version, or the next ones."""
        while True:
            message = self.next()
            if message.get("method") != "textDocument/publishDiagnostics":
                continue
            params = message["params"]
            if params["uri"] == uri and version in (None, params.get("version")):
                found: list[dict[str, Any]] = params["diagnostics"]
                return found

    def at(self, method: str, uri: str, line: int, character: int, **more: Any) -> Any:
        place = {"line": line, "character": character}
        return self.ask(f"textDocument/{method}", {"textDocument": {"uri": uri}, "position": place, **more})
