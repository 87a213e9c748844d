"""All that the language server knows of a text, asked for at a place in it, by its functions."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import get_args

from parc.lsp.completion.complete import complete
from parc.lsp.document.analysis import Analysis
from parc.lsp.document.mentions import find_mention, find_uses, list_analyses
from parc.lsp.document.positions import Encoding, find_offset, find_position
from parc.lsp.document.workspace import Workspace
from parc.lsp.edits.code_actions import build_fix_all, list_actions
from parc.lsp.edits.formatting import format_file, format_range
from parc.lsp.edits.rename import refuse_rename
from parc.lsp.hover.hover import describe_word
from parc.lsp.language import outline, picture
from parc.lsp.language.code_lenses import format_title, list_lenses
from parc.lsp.language.inlay_hints import list_hints
from parc.lsp.language.semantic_tokens import list_tokens
from parc.lsp.language.signature_help import find_signature

NAMES = ("other", "ﬁ", "x²", "ª", "", "for", "a b", "模", "`")


def serve(text: str, path: Path, random: Random) -> None:
    """Open the text, ask for everything at some places, edit it, and ask again.

    Raises AssertionError if a position does not lead back to its offset.
    """
    workspace = Workspace()
    for version in range(2):
        workspace.set_text(path, text, version)
        analysis = workspace.analyse(path)
        assert analysis
        if not analysis.is_unread:
            start, end = sorted(random.choices(range(len(analysis.source.text) + 1), k=2))
            ask(workspace, analysis, start, end, random.choice(NAMES))
        at = random.randrange(len(text) + 1)
        text = (
            text[:at]
            + random.choice('a1{}[](),=:#"\n é模\U0001d54a\r\u2028')
            + text[at + random.randrange(3) :]
        )


def ask(workspace: Workspace, analysis: Analysis, start: int, end: int, name: str) -> None:
    """Everything, at one place and between two; `name` is that of a rename."""
    text = analysis.source.text
    complete(analysis, start)
    describe_word(analysis, start)
    find_signature(analysis, start)
    if mention := find_mention(analysis, start):
        analyses = list_analyses(workspace, analysis, mention.symbol)
        find_uses(analyses, mention.symbol)
        refuse_rename(workspace, analyses, mention.symbol, name)
    picture.derive_highlight(analysis, start)
    outline.outline_file(analysis)
    outline.list_selections(analysis, start)
    format_file(analysis)
    format_range(analysis, start, end)
    build_fix_all(analysis)
    for lens in list_lenses(analysis, {"picture", "build"}, True):
        format_title(analysis, lens.kind, lens.plan)
    for some in (
        list_actions(analysis, start, end),
        list_hints(analysis, 0, len(text)),
        outline.list_foldings(analysis),
        outline.list_links(analysis),
        list_tokens(analysis, start, end),
    ):
        list(some)
    encodings: tuple[Encoding, ...] = get_args(Encoding)
    for encoding in encodings:
        assert (
            find_offset(analysis.source, find_position(analysis.source, start, encoding), encoding) == start
        )
