"""What clients ask for, and in which shape they have it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pygls", reason="`pip install 'parc-compiler[lsp]'` has the server's library")

from benchmarks.client import Client
from tests.lsp.clients import BYTES, EVERYTHING, MINIMAL, find_line, list_codes, pull
from tests.lsp.editing import SEED


def test_a_minimal_client_gets_no_snippets_and_no_markdown(uri: str) -> None:
    with Client(MINIMAL) as client:
        client.open(uri, SEED.replace("  expect", "  \n  expect"))
        line, character = find_line(SEED, "  expect")
        items = client.at("completion", uri, line, character + 2)["items"]
        assert "recompute" in {item["label"] for item in items}
        assert not [item for item in items if "$" in item["textEdit"]["newText"]]
        line, character = find_line(SEED, "[ep: 8")
        assert client.at("hover", uri, line, character + 1)["contents"]["kind"] == "plaintext"


def test_what_is_parcs_own_is_answered(uri: str) -> None:
    line, character = find_line(SEED, "ep: 8")
    place = {"textDocument": {"uri": uri}, "position": {"line": line, "character": character + 1}}
    with Client(MINIMAL) as client:
        client.open(uri, SEED)
        shown = client.ask("parc/picture", place)
        assert shown["plan"] == "wide"
        command = {"command": "parc.picture", "arguments": [{"uri": uri, "plan": "wide"}]}
        assert client.ask("workspace/executeCommand", command)["html"] == shown["html"]
        assert client.ask("parc/highlight", place)["axis"] == "ep"
        placement = client.ask("parc/placement", {**place, "plan": "wide", "rank": 37})
        assert placement[0]["text"] == "ep = 2 of 8"
        assert client.ask("parc/page", {"code": "P208"}).startswith("# ")
        content = client.ask("workspace/textDocumentContent", {"uri": "parc:/rules/P208.md"})
        assert content["text"] == client.ask("parc/page", {"code": "P208"})


def test_edits_name_the_version_that_they_are_of(uri: str) -> None:
    line, character = find_line(SEED, "ep: 8")
    place = {"line": line, "character": character + 1}
    with Client(EVERYTHING) as client:
        client.open(uri, SEED)
        renamed = client.at("rename", uri, **place, newName="xp")
        asked = {"textDocument": {"uri": uri}, "range": {"start": place, "end": place}}
        actions = client.ask("textDocument/codeAction", {**asked, "context": {"diagnostics": []}})
        moved = next(each for each in actions if each["title"] == "move the axis `ep` inside the node")
        for edit in (renamed, moved["edit"]):
            (change,) = edit["documentChanges"]
            assert change["textDocument"] == {"uri": uri, "version": 1}


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
        assert not [each for each in pull(client, uri)["items"] if each["severity"] == 1]


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
        assert pull(client, gone)["items"] == []


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
        assert "P001" in list_codes(client.pushed(uri, 1))
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
        assert "P001" not in list_codes(client.pushed(uri, version))


def test_folders_may_come_and_go(tmp_path: Path) -> None:
    """The names in the plan files of a workspace are found by asking; so are uses of an axis elsewhere."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "plan.parc").write_text(SEED.replace("plan wide", f"plan {name}"))
    one, two = ({"uri": (tmp_path / name).as_uri(), "name": name} for name in ("one", "two"))

    def plans(client: Client) -> set[str]:
        found = client.ask("workspace/symbol", {"query": ""})
        return {each["name"] for each in found} & {"one", "two"}

    with Client(EVERYTHING, root=one["uri"]) as client:
        assert plans(client) == {"one"}
        client.tell("workspace/didChangeWorkspaceFolders", {"event": {"added": [two], "removed": []}})
        assert plans(client) == {"one", "two"}
        client.tell("workspace/didChangeWorkspaceFolders", {"event": {"added": [], "removed": [one]}})
        assert plans(client) == {"two"}
