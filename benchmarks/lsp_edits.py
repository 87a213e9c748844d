"""Random edits of plans: the language server's diagnostics after each are those of a fresh reading.

`python benchmarks/lsp_edits.py [EDITS] [FIRST]`; without numbers, 100,000 edits. They come in sessions of 50,
each of which depends on its number alone: `lsp_edits.py 20000 400` are the second 20,000. A session has one
plan open, or also a file that it imports, and edits both. Some type into a server process, which pushes its
diagnostics or is asked for them, the others call the functions that it is made of. Every few edits everything
else that the server knows is asked for, at a random place. What differs is written to a file, and the exit
code is 1.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty
from random import Random
from traceback import print_exc
from typing import Any, Protocol

from client import Client
from plain import plain
from typist import Edit, Typist

from parc.check.load import Loaded, load_text
from parc.lsp.completion.complete import complete
from parc.lsp.document.analysis import Analysis
from parc.lsp.document.mentions import find_mention
from parc.lsp.document.workspace import Workspace
from parc.lsp.edits.code_actions import list_actions
from parc.lsp.edits.formatting import format_range
from parc.lsp.hover.hover import describe_word
from parc.lsp.language import outline, picture
from parc.lsp.language.code_lenses import list_lenses
from parc.lsp.language.inlay_hints import list_hints
from parc.lsp.language.semantic_tokens import list_tokens
from parc.lsp.language.signature_help import find_signature
from parc.source import Source

SESSION = 50  # edits
ASKED = 25  # edits from one question about everything to the next
PUSHES, PULLS = (0, 6), (3, 9)  # last digits of the numbers of sessions with a server process
SILENCE = 10.0  # seconds without a word, after which nothing more is expected to be pushed
SHOWN = 5_000  # edits from one line of progress to the next
CAN: dict[str, Any] = {"publishDiagnostics": {"relatedInformation": True}}

Texts = dict[Path, str]


class Face(Protocol):
    """What is typed into; `texts` are those of the files that are open after the edit."""

    def edit(self, edit: Edit, texts: Texts) -> None: ...

    def ask(self, path: Path, text: str, start: int, end: int) -> None:
        """Everything, at one place."""

    def agrees(self, path: Path, texts: Texts, fresh: Loaded) -> bool:
        """Whether it tells of the file what a fresh reading does."""

    def close(self) -> None:
        """All files."""


class Functions:
    def __init__(self) -> None:
        self.project = Workspace()
        self.version = 0

    def edit(self, edit: Edit, texts: Texts) -> None:
        self.version += 1
        if edit.path in texts:
            self.project.set_text(edit.path, texts[edit.path], self.version)
        else:
            self.project.close(edit.path)

    def analysis(self, path: Path) -> Analysis:
        analysis = self.project.analyse(path)
        assert analysis is not None
        return analysis

    def ask(self, path: Path, text: str, start: int, end: int) -> None:
        analysis = self.analysis(path)
        complete(analysis, start)
        describe_word(analysis, start)
        find_mention(analysis, start)
        find_signature(analysis, start)
        picture.derive_highlight(analysis, start)
        outline.outline_file(analysis)
        outline.list_selections(analysis, start)
        format_range(analysis, start, end)
        for some in (
            list_actions(analysis, start, end),
            list_hints(analysis, 0, len(text)),
            list_lenses(analysis, {"picture", "build"}, True),
            outline.list_foldings(analysis),
            outline.list_links(analysis),
            list_tokens(analysis, start, end),
        ):
            list(some)

    def agrees(self, path: Path, texts: Texts, fresh: Loaded) -> bool:
        return plain(self.analysis(path).loaded) == plain(fresh)

    def close(self) -> None:
        for path in list(self.project.open_files):
            self.project.close(path)


def position(text: str, offset: int) -> dict[str, int]:
    """As the protocol counts: 0-based lines, and on a line units of UTF-16."""
    line = text[:offset].rpartition("\n")[2]
    return {"line": text.count("\n", 0, offset), "character": len(line.encode("utf-16-le")) // 2}


class Process:
    """A server process at the other end of a pipe, told of each edit by its place and its characters."""

    def __init__(self, client: Client, pulls: bool) -> None:
        self.client = client
        self.pulls = pulls
        self.texts: Texts = {}  # as the server has them
        self.told: dict[str, dict[str, Any]] = {}  # what was pushed last, for each address

    def edit(self, edit: Edit, texts: Texts) -> None:
        path, uri, before = edit.path, edit.path.as_uri(), self.texts.get(edit.path)
        self.texts = dict(texts)
        if path not in texts:
            self.client.tell("textDocument/didClose", {"textDocument": {"uri": uri}})
        elif before is None or edit.piece is None:
            self.client.open(uri, texts[path])
        else:
            places = {"start": position(before, edit.start), "end": position(before, edit.end)}
            self.client.change(uri, {"range": places, "text": edit.piece})

    def ask(self, path: Path, text: str, start: int, end: int) -> None:
        document = {"textDocument": {"uri": path.as_uri()}}
        place, span = position(text, start), {"start": position(text, start), "end": position(text, end)}
        for method in ("completion", "hover", "signatureHelp", "definition", "prepareRename"):
            self.client.ask(f"textDocument/{method}", {**document, "position": place})
        for method in ("documentSymbol", "foldingRange", "documentLink", "codeLens", "semanticTokens/full"):
            self.client.ask(f"textDocument/{method}", document)
        more = {"context": {"diagnostics": []}, "options": {"tabSize": 2, "insertSpaces": True}}
        for method in ("codeAction", "inlayHint", "rangeFormatting"):
            self.client.ask(f"textDocument/{method}", {**document, "range": span, **more})
        self.client.ask("parc/highlight", {**document, "position": place})

    def agrees(self, path: Path, texts: Texts, fresh: Loaded) -> bool:
        uri = path.as_uri()
        if self.pulls:
            found = self.client.ask("textDocument/diagnostic", {"textDocument": {"uri": uri}})
            return same(found["items"], path, texts[path], fresh)
        while not self._was_pushed(path, texts[path], fresh):
            try:
                self.client.next(SILENCE)
            except Empty:
                return False
        return True

    def _was_pushed(self, path: Path, text: str, fresh: Loaded) -> bool:
        """Whether the last that was pushed for the file is of its text, and says what was read."""
        for message in self.client.said:
            if message["method"] == "textDocument/publishDiagnostics":
                self.told[message["params"]["uri"]] = message["params"]
        self.client.said.clear()
        uri = path.as_uri()
        last = self.told.get(uri, {})
        current = last.get("version") == self.client.versions[uri]
        return current and same(last["diagnostics"], path, text, fresh)

    def close(self) -> None:
        for path in self.texts:
            self.client.tell("textDocument/didClose", {"textDocument": {"uri": path.as_uri()}})
        self.texts = {}


def same(found: list[dict[str, Any]], path: Path, text: str, fresh: Loaded) -> bool:
    """Whether diagnostics of the protocol say what was read; those of another file stand at its import."""
    if len(found) != len(fresh.diagnostics):
        return False
    for told, each in zip(found, fresh.diagnostics, strict=True):
        if told["code"] != each.code or not told["message"].startswith(each.message):
            return False
        at = each.span
        if at is None or at.source.path != str(path):
            continue
        if told["range"] != {"start": position(text, at.start), "end": position(text, at.end)}:
            return False
    return True


def differences(typist: Typist, face: Face) -> Iterator[Texts]:
    """The texts of a session after which what is told differs from what a fresh reading finds."""
    random = Random(typist.random.random())
    for path in typist.open:
        face.edit(Edit(path, 0, 0, None), typist.texts)
    for number in range(SESSION):
        edit = typist.edit()
        texts = {path: text for path, text in typist.texts.items() if path in typist.open}
        try:
            face.edit(edit, texts)
            if number % ASKED == 0:
                asked = random.choice(sorted(texts))
                face.ask(asked, texts[asked], *sorted(random.choices(range(len(texts[asked]) + 1), k=2)))
            fresh = {str(path): text for path, text in texts.items()}
            read = {
                path: load_text(Source(str(path), text), texts=fresh, tries_fixes=False)
                for path, text in texts.items()
            }
            agreed = all(face.agrees(path, texts, loaded) for path, loaded in read.items())
        except Exception:  # noqa: BLE001 # whatever it is, it is what is looked for
            print_exc()
            agreed = False
        if not agreed:
            yield texts
    face.close()


def run(sessions: range) -> Iterator[list[Texts]]:
    """Of each session what differs."""
    with (
        Client({"textDocument": CAN}) as pushing,
        Client({"textDocument": {**CAN, "diagnostic": {}}}) as pulled,
    ):
        for number in sessions:
            face: Face = Functions()
            if number % 10 in PUSHES + PULLS:
                pulls = number % 10 in PULLS
                face = Process(pulled if pulls else pushing, pulls)
            yield list(differences(Typist(number), face))


def main() -> int:
    edits, first = (int(each) for each in (*sys.argv[1:], *("100000", "0")[len(sys.argv) - 1 :]))
    begun, found, done = time.monotonic(), 0, 0
    for number, differing in enumerate(run(range(first, first + -(-edits // SESSION))), first):
        for at, texts in enumerate(differing):
            told = "".join(f"# {path.name}\n{text}\n" for path, text in texts.items())
            Path(f"difference-{number}-{at}.parc").write_text(told, encoding="utf-8")
        found += len(differing)
        done += SESSION
        if done % SHOWN == 0 or done >= edits:
            each = (time.monotonic() - begun) / done * 1e3
            print(f"{done:,} edits, {found} differences, {each:.1f} ms each", flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
