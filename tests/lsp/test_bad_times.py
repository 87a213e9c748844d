"""Clients that paste too much, ask for what cannot be, hang up, or die: no crash, no orphan."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pygls", reason="`pip install 'parc-compiler[lsp]'` has the server's library")

from benchmarks.client import PATIENCE, ROOT, Client
from tests.lsp.clients import BROKEN, EVERYTHING, MINIMAL, find_line, list_codes, pull
from tests.lsp.editing import SEED


def test_a_huge_paste_is_reported_and_survived(uri: str) -> None:
    with Client(MINIMAL) as client:
        client.open(uri, SEED)
        client.pushed(uri, 1)
        version = client.change(uri, {"text": SEED * (5_000_000 // len(SEED))})
        assert list_codes(client.pushed(uri, version)) == {"P005"}
        line, character = find_line(SEED, "[ep: 8")
        client.at("completion", uri, line, character + 1)
        client.at("hover", uri, line, character + 1)
        version = client.change(uri, {"text": SEED})
        assert "P005" not in list_codes(client.pushed(uri, version))


def test_two_clients_know_nothing_of_one_another(uri: str) -> None:
    with Client(MINIMAL) as one, Client(MINIMAL) as other:
        one.open(uri, BROKEN)
        other.open(uri, SEED)
        assert "P203" in list_codes(one.pushed(uri, 1))
        assert "P203" not in list_codes(other.pushed(uri, 1))


def test_a_request_that_is_cancelled_is_not_worked_on(uri: str) -> None:
    with Client(EVERYTHING) as client:
        client.open(uri, SEED)
        waiting = client.begin("textDocument/diagnostic", {"textDocument": {"uri": uri}})
        client.tell("$/cancelRequest", {"id": waiting})
        answer = client.answer(waiting)
        assert "result" in answer or answer["error"]["code"] == -32800
        assert pull(client, uri)["kind"] == "full"


@pytest.mark.parametrize("line", [-1, 2**33])
def test_a_place_that_cannot_be_has_an_answer(uri: str, line: int) -> None:
    with Client(MINIMAL) as client:
        client.open(uri, SEED)
        place = {"textDocument": {"uri": uri}, "position": {"line": line, "character": 0}}
        answer = client.answer(client.begin("textDocument/hover", place))
        assert ("error" in answer) == (line < 0 or line >= 2**31)


def test_half_of_a_surrogate_pair_names_no_file(uri: str) -> None:
    with Client(MINIMAL) as client:
        client.open(uri, 'import "\ud800.parc"\n' + SEED)
        assert "P112" in list_codes(client.pushed(uri, 1))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.parc")
    with Client(MINIMAL, root=tmp_path.as_uri()) as client:
        assert client.ask("workspace/symbol", {"query": ""}) == []


def test_a_server_whose_client_closes_its_pipe_ends(uri: str) -> None:
    client = Client(MINIMAL)
    client.open(uri, SEED)
    assert client.server.stdin
    client.server.stdin.close()
    assert client.server.wait(PATIENCE) == 0


def test_a_server_whose_client_is_killed_ends_though_its_pipe_stays_open() -> None:
    """The pipe is held by this process; the client that the server was given is another one."""
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    server = subprocess.Popen(
        [sys.executable, "-m", "parc", "lsp"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert server.stdin
    body = (
        b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"processId":%d,"capabilities":{}}}'
        % dead.pid
    )
    server.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
    server.stdin.flush()
    assert server.wait(PATIENCE) == 1
    server.stdin.close()


def test_the_missing_package_is_named_in_a_bare_environment() -> None:
    code = (
        "import sys; sys.modules['pygls'] = None\n"
        "import importlib.util as u; old = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'pygls' else old(name, *more)\n"
        "from parc.cli import main; sys.exit(main(['lsp']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert "pip install 'parc-compiler[lsp]'" in done.stderr
    assert done.stdout == ""
