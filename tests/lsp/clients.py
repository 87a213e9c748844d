"""Capabilities of clients, for `benchmarks/client.py`, and their most frequent requests."""

from __future__ import annotations

from typing import Any

from benchmarks.client import Client
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


def list_codes(diagnostics: list[dict[str, Any]]) -> set[str]:
    return {each["code"] for each in diagnostics}


def pull(client: Client, uri: str, previous: str | None = None) -> dict[str, Any]:
    params = {"textDocument": {"uri": uri}, "previousResultId": previous}
    result: dict[str, Any] = client.ask("textDocument/diagnostic", params)
    return result


def find_line(text: str, part: str) -> tuple[int, int]:
    offset = text.index(part)
    return text.count("\n", 0, offset), offset - text.rfind("\n", 0, offset) - 1


def list_titles(client: Client, uri: str) -> list[str]:
    lenses = client.ask("textDocument/codeLens", {"textDocument": {"uri": uri}})
    return [client.ask("codeLens/resolve", lens)["command"]["title"] for lens in lenses]


def get_diagnostics(client: Client, uri: str) -> list[dict[str, Any]]:
    """What there is to say of a text that was just sent, pushed or asked for."""
    if "diagnosticProvider" in client.capabilities:
        items: list[dict[str, Any]] = pull(client, uri)["items"]
        return items
    return client.pushed(uri, client.versions[uri])
