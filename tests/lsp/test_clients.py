"""`parc lsp` as clients see it: one that takes what is pushed, one that can do all, one that counts bytes.

The client is `client.py`: JSON-RPC over standard input and output of the server, with nothing of that in it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pygls", reason="`pip install 'parc-compiler[lsp]'` has the server's library")

from benchmarks.client import PATIENCE, ROOT, Client
from tests.lsp.editing import SEED

MINIMAL: dict[str, Any] = {}
EVERYTHING: dict[str, Any] = {
    "general": {"positionEncodings": ["utf-16"]},
    "workspace": {
        "workspaceEdit": {"documentChanges": True},
        "diagnostics": {"refreshSupport": True},
        "didChangeWatchedFiles": {"dynamicRegistration": True},
    },
    "textDocument": {
        "diagnostic": {"dynamicRegistration": False},
        "publishDiagnostics": {"relatedInformation": True, "tagSupport": {"valueSet": [1, 2]}},
        "hover": {"contentFormat": ["markdown"]},
        "completion": {"completionItem": {"snippetSupport": True, "documentationFormat": ["markdown"]}},
    },
}
BYTES: dict[str, Any] = {
    "general": {"positionEncodings": ["utf-8", "utf-16"]},
    "textDocument": {"publishDiagnostics": {"relatedInformation": True, "versionSupport": True}},
}
BROKEN = SEED.replace("tp: 4]", "tp: 5]").replace("[4, 4, 4, 4]", "[4, 4, 4, 3]")


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return (tmp_path / "plan.parc").as_uri()


def codes(diagnostics: list[dict[str, Any]]) -> set[str]:
    return {each["code"] for each in diagnostics}


def pulled(client: Client, uri: str, previous: str | None = None) -> dict[str, Any]:
    params = {"textDocument": {"uri": uri}, "previousResultId": previous}
    result: dict[str, Any] = client.ask("textDocument/diagnostic", params)
    return result


def line_of(text: str, part: str) -> tuple[int, int]:
    offset = text.index(part)
    return text.count("\n", 0, offset), offset - text.rfind("\n", 0, offset) - 1


def titles(client: Client, uri: str) -> list[str]:
    lenses = client.ask("textDocument/codeLens", {"textDocument": {"uri": uri}})
    return [client.ask("codeLens/resolve", lens)["command"]["title"] for lens in lenses]


# What is pushed


def test_a_minimal_client_is_pushed_what_it_cannot_ask_for(uri: str) -> None:
    with Client(MINIMAL) as client:
        assert "diagnosticProvider" not in client.capabilities
        client.open(uri, BROKEN)
        found = client.pushed(uri, 1)
        assert {"P203", "P212"} <= codes(found)
        first = next(each for each in found if each["code"] == "P203")
        assert first["codeDescription"]["href"] == "parc:/rules/P203.md"
        assert "relatedInformation" not in first
        assert "line 33: 5 ranks of `tp`" in first["message"]  # what it cannot show as a place
        version = client.change(uri, {"text": SEED})
        assert not [each for each in client.pushed(uri, version) if each["severity"] == 1]
        client.tell("textDocument/didClose", {"textDocument": {"uri": uri}})
        assert client.pushed(uri) == []


def test_a_question_right_after_a_keystroke_takes_no_diagnostics_away(uri: str) -> None:
    with Client(MINIMAL) as client:
        client.open(uri, SEED)
        client.pushed(uri, 1)
        version = client.change(uri, {"text": BROKEN})
        client.at("hover", uri, 0, 0)
        assert "P203" in codes(client.pushed(uri, version))


def test_a_minimal_client_gets_no_snippets_and_no_markdown(uri: str) -> None:
    with Client(MINIMAL) as client:
        client.open(uri, SEED.replace("  expect", "  \n  expect"))
        line, character = line_of(SEED, "  expect")
        items = client.at("completion", uri, line, character + 2)["items"]
        assert "recompute" in {item["label"] for item in items}
        assert not [item for item in items if "$" in item["textEdit"]["newText"]]
        line, character = line_of(SEED, "[ep: 8")
        assert client.at("hover", uri, line, character + 1)["contents"]["kind"] == "plaintext"


# What is pulled


def test_a_client_that_pulls_is_pushed_nothing(uri: str) -> None:
    with Client(EVERYTHING) as client:
        client.open(uri, BROKEN)
        report = pulled(client, uri)
        assert {"P203", "P212"} <= codes(report["items"])
        assert pulled(client, uri, report["resultId"])["kind"] == "unchanged"
        client.change(uri, {"text": SEED})
        assert not [
            each for each in pulled(client, uri, report["resultId"])["items"] if each["severity"] == 1
        ]
        assert [each["method"] for each in client.said if "Diagnostics" in each["method"]] == []
        assert "workspace/didChangeWatchedFiles" in str(client.asked)


def test_other_guilty_places_are_related_also_in_other_files(tmp_path: Path) -> None:
    model, rest = SEED[: SEED.index("train seed")], SEED[SEED.index("train seed") :]
    (tmp_path / "farm.parc").write_text(model)
    uri = (tmp_path / "plan.parc").as_uri()
    with Client(EVERYTHING) as client:
        client.open(uri, 'import "farm.parc"\n\n' + rest.replace("tp: 4]", "tp: 5]"))
        found = next(each for each in pulled(client, uri)["items"] if each["code"] == "P203")
        assert (
            found["range"]["start"]["line"] == 0
        )  # the heads are said in the import, and so it stands there
        places = {each["location"]["uri"].rsplit("/", 1)[1] for each in found["relatedInformation"]}
        assert places == {"farm.parc", "plan.parc"}


def test_an_axis_that_carries_nothing_is_tagged_as_unnecessary(uri: str) -> None:
    with Client(EVERYTHING) as client:
        client.open(uri, SEED.replace("tensor   over [tp]\n", "").replace("{ tensor = [tp] }", ""))
        found = next(each for each in pulled(client, uri)["items"] if each["code"] == "P302")
        assert found["tags"] == [1]


@pytest.mark.parametrize("capabilities", [MINIMAL, EVERYTHING], ids=["push", "pull"])
def test_importing_files_are_looked_at_again_when_the_imported_one_changes(
    tmp_path: Path, capabilities: dict[str, Any]
) -> None:
    farm, rest = SEED[: SEED.index("model moe")], SEED[SEED.index("model moe") :]
    one, other = (tmp_path / "plan.parc").as_uri(), (tmp_path / "farm.parc").as_uri()
    with Client(capabilities) as client:
        client.open(other, farm)
        client.open(one, 'import "farm.parc"\n\n' + rest)
        if capabilities is EVERYTHING:
            assert not codes(pulled(client, one)["items"]) & {"P101"}
            pulled(client, other)
            client.change(other, {"text": farm.replace("cluster farm", "cluster frm")})
            while not [each for each in client.asked if each["method"] == "workspace/diagnostic/refresh"]:
                client.next()
            assert "P101" in codes(pulled(client, one)["items"])
        else:
            assert "P101" not in codes(client.pushed(one, 1))
            client.change(other, {"text": farm.replace("cluster farm", "cluster frm")})
            assert "P101" in codes(client.pushed(one, 1))


# Everything, once


def test_every_question_has_its_answer(tmp_path: Path) -> None:
    """What the answers say is tested elsewhere: here they come, in the shape that the protocol has."""
    path = tmp_path / "plan.parc"
    path.write_text(SEED)
    uri = path.as_uri()
    document = {"textDocument": {"uri": uri}}
    line, character = line_of(SEED, "ep: 8")
    place = {"line": line, "character": character + 1}
    whole = {"start": {"line": 0, "character": 0}, "end": {"line": 99, "character": 0}}
    layout = {"options": {"tabSize": 2, "insertSpaces": True}}
    with Client(EVERYTHING, root=tmp_path.as_uri()) as client:
        client.open(uri, SEED)
        assert "**axis** `ep`" in client.at("hover", uri, **place)["contents"]["value"]
        start = client.at("definition", uri, **place)["range"]["start"]
        assert start == {"line": line, "character": character}
        uses = client.at("references", uri, **place, context={"includeDeclaration": True})
        assert len(uses) == 3
        assert client.at("prepareRename", uri, **place)["placeholder"] == "ep"
        (renamed,) = client.at("rename", uri, **place, newName="xp")["documentChanges"]
        assert renamed["textDocument"] == {"uri": uri, "version": 1}
        edits = renamed["edits"]
        assert [edit["newText"] for edit in edits] == ["xp"] * 3
        taken = client.begin("textDocument/rename", {**document, "position": place, "newName": "tp"})
        assert "the axis `tp` is there already" in client.answer(taken)["error"]["message"]
        help = client.at("signatureHelp", uri, **place)
        assert help["signatures"][0]["label"].startswith("plan { mesh")
        assert client.ask("textDocument/documentSymbol", document)[3]["name"] == "wide"
        assert [each["name"] for each in client.ask("workspace/symbol", {"query": "WID"})] == ["wide"]
        assert client.ask("textDocument/foldingRange", document)
        assert client.ask("textDocument/documentLink", document) == []
        chosen = client.ask("textDocument/selectionRange", {**document, "positions": [place]})
        assert chosen[0]["parent"]["parent"]
        hints = client.ask("textDocument/inlayHint", {**document, "range": whole})
        assert "= 128 ranks" in {hint["label"] for hint in hints}
        assert "open the picture" in titles(client, uri)
        full = client.ask("textDocument/semanticTokens/full", document)["data"]
        assert client.ask("textDocument/semanticTokens/range", {**document, "range": whole})["data"] == full
        assert client.ask("textDocument/formatting", {**document, **layout}) == []
        assert client.ask("textDocument/rangeFormatting", {**document, **layout, "range": whole}) == []
        actions = client.ask(
            "textDocument/codeAction",
            {**document, "range": {"start": place, "end": place}, "context": {"diagnostics": []}},
        )
        moved = next(each for each in actions if each["title"] == "move the axis `ep` inside the node")
        assert moved["edit"]["documentChanges"][0]["textDocument"] == {"uri": uri, "version": 1}
        shown = client.ask("parc/picture", {**document, "position": place})
        assert shown["plan"] == "wide"
        assert client.ask("parc/highlight", {**document, "position": place})["axis"] == "ep"
        placing = client.ask("parc/placing", {**document, "plan": "wide", "rank": 37})
        assert placing[0]["text"] == "ep = 2 of 8"
        assert client.ask("parc/page", {"code": "P208"}).startswith("# ")
        content = client.ask("workspace/textDocumentContent", {"uri": "parc:/rules/P208.md"})
        assert content["text"] == client.ask("parc/page", {"code": "P208"})
        command = {"command": "parc.picture", "arguments": [{"uri": uri, "plan": "wide"}]}
        assert client.ask("workspace/executeCommand", command)["html"] == shown["html"]


def test_all_safe_fixes_are_one_action(uri: str) -> None:
    text = SEED.replace("data     over [ep]", "data     over ep").replace("sequences = 256", "sequnces = 256")
    with Client(EVERYTHING) as client:
        client.open(uri, text)
        nowhere = {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 0}}
        context = {"diagnostics": [], "only": ["source.fixAll"]}
        found = client.ask(
            "textDocument/codeAction", {"textDocument": {"uri": uri}, "range": nowhere, "context": context}
        )
        assert [each["kind"] for each in found] == ["source.fixAll.parc"]
        edits = found[0]["edit"]["documentChanges"][0]["edits"]
        client.change(uri, *({"range": edit["range"], "text": edit["newText"]} for edit in edits))
        assert not [each for each in pulled(client, uri)["items"] if each["severity"] == 1]


# Encodings


def test_positions_count_the_units_that_were_agreed_on(uri: str) -> None:
    half = '  dataset   = files("𝕊ö/*.txt") oops\n'
    plan = SEED.replace('  dataset   = files("corpus/*.txt")\n', half)
    line = plan[: plan.index(half)].count("\n")
    for capabilities, wanted in ((MINIMAL, 33), (BYTES, 36)):
        with Client(capabilities) as client:
            assert client.capabilities["positionEncoding"] == ("utf-8" if wanted == 36 else "utf-16")
            client.open(uri, plan)
            fault = next(each for each in client.pushed(uri, 1) if each["code"] == "P001")
            assert fault["range"]["start"] == {"line": line, "character": wanted}


def test_edits_are_applied_in_the_units_that_were_agreed_on(uri: str) -> None:
    """The edit takes `oops` out; the places beyond the text do no harm."""
    plan = SEED.replace('"corpus/*.txt")\n', '"𝕊ö/*.txt") oops\n')
    line = plan[: plan.index("oops")].count("\n")
    with Client(BYTES) as client:
        client.open(uri, plan)
        assert "P001" in codes(client.pushed(uri, 1))
        places = {"start": {"line": line, "character": 36}, "end": {"line": line, "character": 900}}
        version = client.change(
            uri,
            {"range": places, "text": ""},
            {
                "range": {
                    "start": {"line": 9999, "character": 5},
                    "end": {"line": 99999, "character": 0},
                },
                "text": "# the end\n",
            },
        )
        assert "P001" not in codes(client.pushed(uri, version))


# Bad times


def test_a_huge_paste_is_told_and_survived(uri: str) -> None:
    with Client(MINIMAL) as client:
        client.open(uri, SEED)
        client.pushed(uri, 1)
        version = client.change(uri, {"text": SEED * (5_000_000 // len(SEED))})
        assert codes(client.pushed(uri, version)) == {"P005"}
        line, character = line_of(SEED, "[ep: 8")
        client.at("completion", uri, line, character + 1)
        client.at("hover", uri, line, character + 1)
        version = client.change(uri, {"text": SEED})
        assert "P005" not in codes(client.pushed(uri, version))


def test_a_file_that_vanishes_is_told_at_its_import(tmp_path: Path) -> None:
    (tmp_path / "farm.parc").write_text(SEED[: SEED.index("model moe")])
    uri = (tmp_path / "plan.parc").as_uri()
    with Client(MINIMAL) as client:
        client.open(uri, 'import "farm.parc"\n' + SEED[SEED.index("model moe") :])
        assert "P112" not in codes(client.pushed(uri, 1))
        (tmp_path / "farm.parc").unlink()
        changes = {"changes": [{"uri": (tmp_path / "farm.parc").as_uri(), "type": 3}]}
        client.tell("workspace/didChangeWatchedFiles", changes)
        assert "P112" in codes(client.pushed(uri, 1))


def test_a_client_that_pulls_is_asked_to_when_an_imported_file_changes_on_the_disk(tmp_path: Path) -> None:
    (tmp_path / "farm.parc").write_text(SEED[: SEED.index("model moe")])
    uri = (tmp_path / "plan.parc").as_uri()
    with Client(EVERYTHING) as client:
        client.open(uri, 'import "farm.parc"\n' + SEED[SEED.index("model moe") :])
        pulled(client, uri)
        asked = len(client.asked)
        (tmp_path / "farm.parc").write_text("")
        changes = {"changes": [{"uri": (tmp_path / "farm.parc").as_uri(), "type": 2}]}
        client.tell("workspace/didChangeWatchedFiles", changes)
        while len(client.asked) == asked:
            client.next()
        assert client.asked[-1]["method"] == "workspace/diagnostic/refresh"
        assert "P101" in codes(pulled(client, uri)["items"])


def test_a_client_that_pulls_is_asked_to_though_it_has_asked_something_else(tmp_path: Path) -> None:
    main, farm = tmp_path / "main.parc", tmp_path / "farm.parc"
    cut = SEED.index("model moe")
    with Client(EVERYTHING) as client:
        client.open(farm.as_uri(), SEED[:cut])
        client.open(main.as_uri(), 'import "farm.parc"\n' + SEED[cut:])
        for each in (farm, main):
            pulled(client, each.as_uri())
        client.ask("workspace/symbol", {"query": ""})
        client.asked.clear()
        client.change(farm.as_uri(), {"text": SEED[:cut].replace("node: 16", "node: 8")})
        client.at("hover", main.as_uri(), 0, 0)
        while "workspace/diagnostic/refresh" not in [each["method"] for each in client.asked]:
            client.next()


def test_questions_about_files_that_are_not_there_have_empty_answers(tmp_path: Path) -> None:
    gone = (tmp_path / "gone.parc").as_uri()
    place = {"textDocument": {"uri": gone}, "position": {"line": 3, "character": 7}}
    span = {"start": {"line": 0, "character": 0}, "end": {"line": 9, "character": 0}}
    with Client(EVERYTHING) as client:
        for method in ("hover", "definition", "completion", "signatureHelp", "prepareRename"):
            assert client.ask(f"textDocument/{method}", place) is None
        for method in ("documentSymbol", "foldingRange", "documentLink", "codeLens"):
            assert client.ask(f"textDocument/{method}", {"textDocument": {"uri": gone}}) == []
        for method in ("inlayHint", "codeAction", "rangeFormatting"):
            more = {"context": {"diagnostics": []}, "options": {"tabSize": 2, "insertSpaces": True}}
            assert client.ask(f"textDocument/{method}", {**place, "range": span, **more}) == []
        assert pulled(client, gone)["items"] == []


def test_a_text_that_is_in_no_file_yet_is_looked_at() -> None:
    with Client(MINIMAL) as client:
        client.open("untitled:Untitled-1", BROKEN)
        assert "P203" in codes(client.pushed("untitled:Untitled-1", 1))


def test_two_clients_know_nothing_of_one_another(uri: str) -> None:
    with Client(MINIMAL) as one, Client(MINIMAL) as other:
        one.open(uri, BROKEN)
        other.open(uri, SEED)
        assert "P203" in codes(one.pushed(uri, 1))
        assert "P203" not in codes(other.pushed(uri, 1))


def test_a_request_that_is_cancelled_is_not_worked_on(uri: str) -> None:
    with Client(EVERYTHING) as client:
        client.open(uri, SEED)
        waiting = client.begin("textDocument/diagnostic", {"textDocument": {"uri": uri}})
        client.tell("$/cancelRequest", {"id": waiting})
        answer = client.answer(waiting)
        assert "result" in answer or answer["error"]["code"] == -32800
        assert pulled(client, uri)["kind"] == "full"


def test_a_server_whose_client_closes_its_pipe_ends(uri: str) -> None:
    client = Client(MINIMAL)
    client.open(uri, SEED)
    assert client.server.stdin
    client.server.stdin.close()
    assert client.server.wait(PATIENCE) == 0


def test_a_server_whose_client_is_killed_ends_though_its_pipe_stays_open() -> None:
    """The pipe is held by this process; the client that the server was told of is another one."""
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


def test_a_bare_environment_is_told_what_is_missing() -> None:
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


# Trust


def test_building_is_offered_and_done_where_the_workspace_is_trusted_alone(tmp_path: Path) -> None:
    uri = (tmp_path / "plan.parc").as_uri()
    (tmp_path / "plan.parc").write_text(SEED)
    (tmp_path / "moe.py").write_text("open('ran', 'w').close()\n")
    command = {"command": "parc.build", "arguments": [{"uri": uri, "plan": "wide"}]}
    with Client(MINIMAL) as client:
        client.open(uri, SEED)
        assert "build" not in titles(client, uri)
        assert client.ask("workspace/executeCommand", command)["code"] == 2
        assert not (tmp_path / "ran").exists()
    with Client(MINIMAL, trusted=True) as client:
        client.open(uri, SEED)
        assert "build" in titles(client, uri)


@pytest.fixture(autouse=True)
def _no_orphans() -> Iterator[None]:
    """Every server that a test starts has ended when it is over."""
    before = children()
    yield
    left = children() - before
    for each in left:
        os.kill(each, signal.SIGKILL)
    assert not left


def children() -> set[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=False
    ).stdout
    return {int(line.split()[0]) for line in listed.splitlines() if "parc lsp" in line}


def _children_of(process: int) -> list[int]:
    tasks = Path(f"/proc/{process}/task").glob("*/children")  # a process is its parent thread's child
    return [int(each) for task in tasks for each in task.read_text().split()]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc")
def test_a_build_imports_nothing_from_the_folder_and_ends_with_the_server(tmp_path: Path) -> None:
    uri = (tmp_path / "plan.parc").as_uri()
    (tmp_path / "plan.parc").write_text(SEED)
    (tmp_path / "random.py").write_text("open('shadowed', 'w').close()\n")
    (tmp_path / "moe.py").write_text("import time\ntime.sleep(600)\n")
    with Client(MINIMAL, trusted=True) as client:
        client.open(uri, SEED)
        client.pushed(uri, 1)
        command = {"command": "parc.build", "arguments": [{"uri": uri, "plan": "wide"}]}
        client.begin("workspace/executeCommand", command)
        deadline = time.monotonic() + PATIENCE
        while not (building := _children_of(client.server.pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        (build,) = building
        assert b"-P" in Path(f"/proc/{build}/cmdline").read_bytes().split(b"\0")
    while Path(f"/proc/{build}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{build}").exists()
    assert not (tmp_path / "shadowed").exists()


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
        assert "P112" in codes(client.pushed(uri, 1))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.parc")
    with Client(MINIMAL, root=tmp_path.as_uri()) as client:
        assert client.ask("workspace/symbol", {"query": ""}) == []


@pytest.mark.parametrize("kind", ["source", "source.fixAll", "source.fixAll.parc"])
def test_the_action_that_fixes_all_is_of_the_kind_that_is_announced(uri: str, kind: str) -> None:
    text = SEED.replace("data     over [ep]", "data     over ep").replace("sequences = 256", "sequnces = 256")
    with Client(MINIMAL) as client:
        assert "source.fixAll.parc" in client.capabilities["codeActionProvider"]["codeActionKinds"]
        client.open(uri, text)
        whole = {"start": {"line": 0, "character": 0}, "end": {"line": 99, "character": 0}}
        context = {"diagnostics": [], "only": [kind]}
        asked = {"textDocument": {"uri": uri}, "range": whole, "context": context}
        found = client.ask("textDocument/codeAction", asked)
        assert [each["kind"] for each in found] == ["source.fixAll.parc"]
