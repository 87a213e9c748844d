"""Diagnostics of a text: pushed, or pulled by a client that is able to, never both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pygls", reason="`pip install 'parc-compiler[lsp]'` has the server's library")

from benchmarks.client import Client
from tests.lsp.clients import BROKEN, EVERYTHING, MINIMAL, find_line, get_diagnostics, list_codes, pull
from tests.lsp.editing import SEED


def test_a_minimal_client_is_pushed_what_it_cannot_ask_for(uri: str) -> None:
    with Client(MINIMAL) as client:
        assert "diagnosticProvider" not in client.capabilities
        client.open(uri, BROKEN)
        found = client.pushed(uri, 1)
        assert {"P203", "P212"} <= list_codes(found)
        first = next(each for each in found if each["code"] == "P203")
        assert first["codeDescription"]["href"] == "parc:/rules/P203.md"
        assert "relatedInformation" not in first
        assert "\nline 33: 5 ranks of `tp`" in first["message"]  # what it cannot show as a place
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
        assert "P203" in list_codes(client.pushed(uri, version))


def test_a_client_that_pulls_is_pushed_nothing(uri: str) -> None:
    with Client(EVERYTHING) as client:
        client.open(uri, BROKEN)
        report = pull(client, uri)
        assert {"P203", "P212"} <= list_codes(report["items"])
        assert pull(client, uri, report["resultId"])["kind"] == "unchanged"
        client.change(uri, {"text": SEED})
        assert not [each for each in pull(client, uri, report["resultId"])["items"] if each["severity"] == 1]
        assert [each["method"] for each in client.said if "Diagnostics" in each["method"]] == []
        assert "workspace/didChangeWatchedFiles" in str(client.asked)


def test_other_guilty_places_are_related_also_in_other_files(tmp_path: Path) -> None:
    model, rest = SEED[: SEED.index("train seed")], SEED[SEED.index("train seed") :]
    (tmp_path / "farm.parc").write_text(model)
    uri = (tmp_path / "plan.parc").as_uri()
    with Client(EVERYTHING) as client:
        client.open(uri, 'import "farm.parc"\n\n' + rest.replace("tp: 4]", "tp: 5]"))
        found = next(each for each in pull(client, uri)["items"] if each["code"] == "P203")
        assert (
            found["range"]["start"]["line"] == 0
        )  # the heads are in the imported file: the diagnostic is placed at the import
        places = {each["location"]["uri"].rsplit("/", 1)[1] for each in found["relatedInformation"]}
        assert places == {"farm.parc", "plan.parc"}


def test_an_axis_that_carries_nothing_is_tagged_as_unnecessary(uri: str) -> None:
    with Client(EVERYTHING) as client:
        client.open(uri, SEED.replace("tensor   over [tp]\n", "").replace("{ tensor = [tp] }", ""))
        found = next(each for each in pull(client, uri)["items"] if each["code"] == "P302")
        assert found["tags"] == [1]


@pytest.mark.parametrize("capabilities", [MINIMAL, EVERYTHING], ids=["push", "pull"])
def test_importing_files_are_checked_again_when_the_imported_one_changes(
    tmp_path: Path, capabilities: dict[str, Any]
) -> None:
    farm, rest = SEED[: SEED.index("model moe")], SEED[SEED.index("model moe") :]
    one, other = (tmp_path / "plan.parc").as_uri(), (tmp_path / "farm.parc").as_uri()
    with Client(capabilities) as client:
        client.open(other, farm)
        client.open(one, 'import "farm.parc"\n\n' + rest)
        if capabilities is EVERYTHING:
            assert not list_codes(pull(client, one)["items"]) & {"P101"}
            pull(client, other)
            client.change(other, {"text": farm.replace("cluster farm", "cluster frm")})
            while not [each for each in client.asked if each["method"] == "workspace/diagnostic/refresh"]:
                client.next()
            assert "P101" in list_codes(pull(client, one)["items"])
        else:
            assert "P101" not in list_codes(client.pushed(one, 1))
            client.change(other, {"text": farm.replace("cluster farm", "cluster frm")})
            assert "P101" in list_codes(client.pushed(one, 1))


def test_a_file_that_vanishes_is_reported_at_its_import(tmp_path: Path) -> None:
    (tmp_path / "farm.parc").write_text(SEED[: SEED.index("model moe")])
    uri = (tmp_path / "plan.parc").as_uri()
    with Client(MINIMAL) as client:
        client.open(uri, 'import "farm.parc"\n' + SEED[SEED.index("model moe") :])
        assert "P112" not in list_codes(client.pushed(uri, 1))
        (tmp_path / "farm.parc").unlink()
        changes = {"changes": [{"uri": (tmp_path / "farm.parc").as_uri(), "type": 3}]}
        client.tell("workspace/didChangeWatchedFiles", changes)
        assert "P112" in list_codes(client.pushed(uri, 1))


def test_a_client_that_pulls_is_asked_to_when_an_imported_file_changes_on_the_disk(tmp_path: Path) -> None:
    (tmp_path / "farm.parc").write_text(SEED[: SEED.index("model moe")])
    uri = (tmp_path / "plan.parc").as_uri()
    with Client(EVERYTHING) as client:
        client.open(uri, 'import "farm.parc"\n' + SEED[SEED.index("model moe") :])
        pull(client, uri)
        asked = len(client.asked)
        (tmp_path / "farm.parc").write_text("")
        changes = {"changes": [{"uri": (tmp_path / "farm.parc").as_uri(), "type": 2}]}
        client.tell("workspace/didChangeWatchedFiles", changes)
        while len(client.asked) == asked:
            client.next()
        assert client.asked[-1]["method"] == "workspace/diagnostic/refresh"
        assert "P101" in list_codes(pull(client, uri)["items"])


def test_a_client_that_pulls_is_asked_to_though_it_has_asked_something_else(tmp_path: Path) -> None:
    main, farm = tmp_path / "main.parc", tmp_path / "farm.parc"
    cut = SEED.index("model moe")
    with Client(EVERYTHING) as client:
        client.open(farm.as_uri(), SEED[:cut])
        client.open(main.as_uri(), 'import "farm.parc"\n' + SEED[cut:])
        for each in (farm, main):
            pull(client, each.as_uri())
        client.ask("workspace/symbol", {"query": ""})
        client.asked.clear()
        client.change(farm.as_uri(), {"text": SEED[:cut].replace("node: 16", "node: 8")})
        client.at("hover", main.as_uri(), 0, 0)
        while "workspace/diagnostic/refresh" not in [each["method"] for each in client.asked]:
            client.next()


def test_a_text_that_is_in_no_file_yet_is_checked() -> None:
    with Client(MINIMAL) as client:
        client.open("untitled:Untitled-1", BROKEN)
        assert "P203" in list_codes(client.pushed("untitled:Untitled-1", 1))


def test_places_in_other_files_are_named_where_they_cannot_be_shown(tmp_path: Path) -> None:
    model, rest = SEED[: SEED.index("train seed")], SEED[SEED.index("train seed") :]
    (tmp_path / "farm.parc").write_text(model)
    uri = (tmp_path / "plan.parc").as_uri()
    text = 'import "farm.parc"\n\n' + rest.replace("tp: 4]", "tp: 5]")
    heads, mesh = find_line(model, " heads = 16")[0] + 1, find_line(text, "tp: 5")[0] + 1
    with Client(MINIMAL) as client:
        client.open(uri, text)
        found = next(each for each in client.pushed(uri, 1) if each["code"] == "P203")
        assert f"\nfarm.parc, line {heads}: 16 heads\nline {mesh}: 5 ranks of `tp`" in found["message"]


@pytest.mark.parametrize("capabilities", [MINIMAL, EVERYTHING], ids=["push", "pull"])
def test_a_file_that_is_open_under_two_addresses_is_two_texts(
    tmp_path: Path, capabilities: dict[str, Any]
) -> None:
    """By a link. Each diagnostic goes to the address whose text has the fault, and to no other."""
    file, link = tmp_path / "plan.parc", tmp_path / "link.parc"
    file.write_text(SEED)
    link.symlink_to(file)
    texts = {link.as_uri(): BROKEN, file.as_uri(): SEED}
    with Client(capabilities) as client:
        for uri, text in texts.items():
            client.open(uri, text)
            assert ("P203" in list_codes(get_diagnostics(client, uri))) == (text == BROKEN)
        top = {"line": 0, "character": 0}
        for uri, text in texts.items():
            client.change(uri, {"range": {"start": top, "end": top}, "text": "\n"})
            assert ("P203" in list_codes(get_diagnostics(client, uri))) == (text == BROKEN)
        line, character = find_line(SEED, "ep: 8")
        edit = client.at("rename", link.as_uri(), line + 1, character, newName="xp")
        assert (link.as_uri() in str(edit), file.as_uri() in str(edit)) == (True, False)
        client.tell("textDocument/didClose", {"textDocument": {"uri": link.as_uri()}})
        client.change(file.as_uri(), {"text": BROKEN})
        assert "P203" in list_codes(get_diagnostics(client, file.as_uri()))


def test_what_imports_a_file_reads_it_as_it_is_under_another_address(tmp_path: Path) -> None:
    cut = SEED.index("model moe")
    (tmp_path / "farm.parc").write_text("")
    (tmp_path / "link.parc").symlink_to(tmp_path / "farm.parc")
    uri, link = ((tmp_path / name).as_uri() for name in ("plan.parc", "link.parc"))
    with Client(MINIMAL) as client:
        client.open(uri, 'import "farm.parc"\n' + SEED[cut:])
        assert "P101" in list_codes(get_diagnostics(client, uri))
        client.open(link, SEED[:cut])
        assert "P101" not in list_codes(get_diagnostics(client, uri))
