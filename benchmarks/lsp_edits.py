"""Random edits of a plan: the language server's diagnostics after each are those of a fresh reading.

`python benchmarks/lsp_edits.py [EDITS] [SEED]`; without numbers, 100,000 edits. What differs is printed and
the exit code is 1. Every few edits, everything else that the server knows is asked for at a random place.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from parc.check.load import Loaded, load_text
from parc.lsp import help, layout, names, outline, picture, tokens
from parc.lsp.actions import actions
from parc.lsp.analysis import Analysis
from parc.lsp.completion import complete
from parc.lsp.hover import hover
from parc.lsp.margins import hints, lenses
from parc.lsp.project import Project
from parc.source import Source

EXAMPLES = Path(__file__).parents[1] / "examples"
FILES = ("seed.parc", "quickstart.parc", "classic.parc", "seed-claims.parc")
AGAIN = 60  # edits after which the text is whole again: rubble teaches little
ASKED = 25  # edits from one question about everything to the next
PIECES = ["", "", *'{}[]("=,#:a80', "\n", " GB", "x ", "\U0001d54a", "over "]


def edited(random: Random, text: str) -> str:
    """As typing, cutting and pasting leave it."""
    start = random.randrange(len(text) + 1)
    end = min(len(text), start + random.choice((0, 0, 0, 1, 1, 2, 30)))
    piece: str = random.choice([*PIECES, text[start:end] * 2, text[-80:]])
    return text[:start] + piece + text[end:]


def plain(loaded: Loaded) -> list[Any]:
    """All that the diagnostics say, without the identity of their sources."""

    def told(value: Any) -> Any:
        if isinstance(value, Source):
            return value.path
        return tuple(told(each) for each in value) if isinstance(value, tuple) else value

    return [
        (each.code, each.severity, each.message, told(each.labels), each.notes, each.help, told(each.fix))
        for each in loaded.diagnostics
    ]


def ask(analysis: Analysis, offset: int, end: int) -> None:
    """Everything, at one place."""
    complete(analysis, offset)
    hover(analysis, offset)
    names.at(analysis, offset)
    help.signature(analysis, offset)
    picture.highlight(analysis, offset)
    outline.symbols(analysis)
    outline.selections(analysis, offset)
    layout.stretch(analysis, offset, end)
    for some in (
        actions(analysis, offset, end),
        hints(analysis, 0, len(analysis.source.text)),
        lenses(analysis, True),
        outline.foldings(analysis),
        outline.links(analysis),
        tokens.tokens(analysis, offset, end),
    ):
        list(some)


def differences(edits: int, seed: int) -> Iterator[str]:
    """The texts after which the diagnostics differ."""
    random, project = Random(seed), Project()
    texts = [(EXAMPLES / name, (EXAMPLES / name).read_text(encoding="utf-8")) for name in FILES]
    path, text = texts[0]
    for number in range(edits):
        if number % AGAIN == 0:
            project.close(path)
            path, text = random.choice(texts)
        text = edited(random, text)
        project.edit(path, text, number)
        analysis = project.analysis(path)
        assert analysis is not None
        if number % ASKED == 0:
            places = sorted(random.randrange(len(text) + 1) for _ in range(2))
            ask(analysis, *places)
        if plain(analysis.loaded) != plain(load_text(Source(str(path), text))):
            yield text


def main() -> int:
    edits, seed = (int(each) for each in (*sys.argv[1:], *("100000", "0")[len(sys.argv) - 1 :]))
    begun, found = time.process_time(), 0
    for text in differences(edits, seed):
        found += 1
        Path(f"difference{found}.parc").write_text(text, encoding="utf-8")
    each = (time.process_time() - begun) / edits * 1e3
    print(f"{edits:,} edits, {found} differences, {each:.1f} ms CPU an edit, both readings together")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
