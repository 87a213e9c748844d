"""Every request of the language server, and keystrokes, on large and hostile texts: none may freeze.

    python benchmarks/lsp_hostile.py           # all texts
    python benchmarks/lsp_hostile.py brackets  # those whose names contain the word

Times are CPU of the server process, which other work on the machine does not change. Exits 1 if a request
takes more than half a second or a keystroke more than a fifth.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any

from client import Client
from lsp_latency import cpu

from parc.source import Source
from parc.syntax.scan import MAX_PART_TOKENS, count_tokens, find_token

MAX_REQUEST = 500  # ms of CPU
MAX_KEYSTROKE = 200
CAPABILITIES: dict[str, Any] = {
    "workspace": {"workspaceEdit": {"documentChanges": True}},
    "textDocument": {
        "publishDiagnostics": {"relatedInformation": True},
        "hover": {"contentFormat": ["markdown"]},
        "completion": {"completionItem": {"snippetSupport": True, "documentationFormat": ["markdown"]}},
    },
}


def fill(head: str, piece: str, size: int, tail: str = "") -> str:
    """`head`, so many copies of `piece` that the text has `size` characters, and `tail`."""
    return head + piece * ((size - len(head) - len(tail)) // len(piece)) + tail


def list_statements(size: int) -> dict[str, str]:
    """Texts of `size` characters that are one statement."""
    return {
        "list": fill("let x = [", "1, ", size, "1]\n"),
        "lines": fill("let x = [\n", "1,\n", size, "1]\n"),
        "sum": fill("let x = 1", " + 1", size, "\n"),
        "keys": fill("plan a for b on c {\n", "  seed = 1\n", size, "}\n"),
        "blocks": fill("plan a for b on c {\n", "  data over [ep] { shard = 1 }\n", size, "}\n"),
        "claims": fill("plan a for b on c { expect {\n", "  devices == 3\n", size, "} }\n"),
        "mesh": fill("plan a for b on c {\n mesh = [", "a: 1, ", size, "]\n}\n"),
        "equals": fill("plan a for b on c {\n", "  = = =\n", size, "}\n"),
        "names": fill("let x = ", "a ", size, "\n"),
        "open": fill("plan a for b on c {\n", "  seed = 1\n", size),
        "string": fill('let x = "', "a", size, '"\n'),
        "pairs": fill("model m { arguments {\n", "  a = tokens(1, b = 2)\n", size, "} }\n"),
        "comments": fill("plan a for b on c {\n", "  # parc: allow P202 -- x\n", size, "}\n"),
        "wide": fill("let x = [", "\U0001d54a, ", size, "1]\n"),
        "junk": fill("plan a for b on c {\n", "';", size, "}\n"),
        "closers": fill("plan a for b on c {\n", "a = [(", size, "}\n"),
    }


def cut(text: str) -> str:
    """The beginning of a statement that is not yet too large."""
    source = Source("", text)
    if count_tokens(source, MAX_PART_TOKENS + 1) <= MAX_PART_TOKENS:
        return text
    return text[: find_token(source, MAX_PART_TOKENS - 3).end] + (text[-2:] if text[-2] in "]}" else "")


def list_texts() -> dict[str, str]:
    """By name, all texts that are tried."""
    largest = {name: cut(text) for name, text in list_statements(80_000).items()}
    return {
        **{f"80 kB, {name}": text for name, text in list_statements(80_000).items()},
        **{f"250 kB, {name}": text for name, text in list_statements(250_000).items()},
        "1 MB of one line": fill("let x = ", "1 + ", 1_000_000, "1"),
        "1 MB, one word": "a" * 1_000_000,
        "1 MB of keys": fill("", "a = 1, ", 1_000_000),
        "1 MB of lines": fill("", "a = 1\n", 1_000_000),
        "1 MB of comments": fill("", "# a\n", 1_000_000),
        "1 MB of empty lines": "\n" * 1_000_000,
        "100,000 brackets {": "{" * 100_000,
        "100,000 brackets [": "[" * 100_000,
        "100,000 brackets (": "let x = " + "(" * 100_000,
        "100,000 brackets }": "}" * 100_000,
        "100,000 brackets in lines": "a {\n" * 100_000,
        "50,000 statements": "a = 1\n" * 50_000,
        "40,000 statements": "a = 1\n" * 40_000,
        "7,000 statements": "a = 1\n" * 7_000,
        **{f"largest statement, {name}": text for name, text in largest.items()},
        **{f"largest file, {name}": f"{text}\n\n" * 9 for name, text in largest.items()},
        "7,000 constants": "".join(f"let a{at} = {at}\n" for at in range(7_000)),
        "4,000 blocks": "plan a for b on c { }\n" * 4_000,
        "12,000 imports": 'import "x.parc"\n' * 12_000,
        "20,000 quotes": '"\n' * 20_000,
        "30,000 faults": "= 1\n" * 30_000,
    }


def list_requests(uri: str, text: str) -> list[tuple[str, dict[str, Any]]]:
    """Method and parameters of every request, at the start, the middle and the end of a text."""
    document = {"textDocument": {"uri": uri}}
    whole = {"range": {"start": {"line": 0, "character": 0}, "end": find_place(text, len(text))}}
    context: dict[str, Any] = {"context": {"diagnostics": []}}
    found: list[tuple[str, dict[str, Any]]] = [
        ("documentSymbol", {}),
        ("foldingRange", {}),
        ("documentLink", {}),
        ("semanticTokens/full", {}),
        ("semanticTokens/range", whole),
        ("formatting", {"options": {"tabSize": 2, "insertSpaces": True}}),
        ("rangeFormatting", {"options": {"tabSize": 2, "insertSpaces": True}, **whole}),
        ("inlayHint", whole),
        ("codeLens", {}),
        ("codeAction", {**whole, **context}),
    ]
    for offset in (0, len(text) // 2, len(text)):
        place = find_place(text, offset)
        at = {"position": place}
        found += [
            ("completion", at),
            ("hover", at),
            ("signatureHelp", at),
            ("definition", at),
            ("typeDefinition", at),
            ("documentHighlight", at),
            ("linkedEditingRange", at),
            ("onTypeFormatting", {**at, "ch": "}", "options": {"tabSize": 2, "insertSpaces": True}}),
            ("onTypeFormatting", {**at, "ch": "\n", "options": {"tabSize": 2, "insertSpaces": True}}),
            ("references", {**at, "context": {"includeDeclaration": True}}),
            ("prepareRename", at),
            ("rename", {**at, "newName": "other"}),
            ("selectionRange", {"positions": [place] * 4}),
            ("codeAction", {"range": {"start": place, "end": place}, **context}),
        ]
    return [(f"textDocument/{name}", {**document, **more}) for name, more in found]


def find_place(text: str, offset: int) -> dict[str, int]:
    line = text[:offset].rpartition("\n")[2]
    return {"line": text.count("\n", 0, offset), "character": len(line.encode("utf-16-le")) // 2}


def measure(text: str) -> dict[str, float]:
    """The most CPU, in ms, that each request and a keystroke took."""
    found: dict[str, float] = {}
    with suppress(Empty), tempfile.TemporaryDirectory() as folder, Client(CAPABILITIES) as client:
        uri, server = (Path(folder) / "plan.parc").as_uri(), client.server.pid

        def time(name: str, run: Any) -> None:
            before = cpu(server)
            try:
                run()
            finally:
                found[name] = max(found.get(name, 0.0), cpu(server) - before)

        def open_text() -> None:
            client.open(uri, text)
            client.pushed(uri, 1)

        time("open", open_text)
        for offset in (0, len(text) // 2, len(text)):
            place = find_place(text, offset)
            insert = {"range": {"start": place, "end": place}, "text": "a"}
            after = {"line": place["line"], "character": place["character"] + 1}
            remove = {"range": {"start": place, "end": after}, "text": ""}
            for change in (insert, remove):
                time("keystroke", lambda change=change: client.pushed(uri, client.change(uri, change)))
        for method, params in list_requests(uri, text):
            time(method, lambda m=method, p=params: client.answer(client.begin(m, p)))
    return found


def main() -> int:
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    slow = 0
    for name, text in list_texts().items():
        if wanted not in name:
            continue
        found = measure(text)
        worst = max((each for each in found if each != "keystroke"), key=lambda each: found[each])
        limits = {each: MAX_KEYSTROKE if each == "keystroke" else MAX_REQUEST for each in found}
        above = {each: ms for each, ms in found.items() if ms > limits[each]}
        slow += len(above)
        print(
            f"{name:28} keystroke {found['keystroke']:7.0f} ms, slowest {worst} {found[worst]:.0f} ms",
            *(f"\n    ABOVE {each}: {ms:,.0f} ms" for each, ms in above.items()),
            flush=True,
        )
    return int(slow > 0)


if __name__ == "__main__":
    sys.exit(main())
