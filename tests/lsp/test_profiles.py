"""Whole sessions with what three real clients say they can, by pytest-lsp: Visual Studio Code, Neovim, Emacs.

They differ in all that a server has to heed: VS Code is pushed diagnostics, counts UTF-16 and takes snippets;
Neovim asks for diagnostics and counts UTF-8; Emacs counts UTF-32, takes no snippets and no Markdown beside a
completion. pytest-lsp warns of an answer that its client did not say it could take: here that is an error.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.importorskip("pygls", reason="`pip install 'parc-compiler[lsp]'` has the server's library")
pytest.importorskip("pytest_lsp", reason="`pip install pytest-lsp` has the clients")

import pytest_lsp
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pytest_lsp import ClientServerConfig, LanguageClient, client_capabilities, make_test_lsp_client

from parc.lsp.document.positions import Encoding, find_offset, find_position
from parc.source import Source
from tests.lsp.editing import SEED

ROOT = Path(__file__).parents[2]
CLIENTS: dict[str, Encoding] = {
    "visual_studio_code": "utf-16",
    "neovim@v0.11.0": "utf-8",
    "emacs": "utf-32",
}
SERVER = [sys.executable, "-m", "parc", "lsp"]
# Two faults, behind characters of which each encoding counts another number
FAULTY = SEED.replace('files("corpus/*.txt")', 'files("𝕊ö/*.txt") oops').replace(
    "decay = cosine", "decay = cosin"
)
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("error::pytest_lsp.LspSpecificationWarning"),
]


def made() -> LanguageClient:
    new = make_test_lsp_client()
    new.feature(types.CLIENT_REGISTER_CAPABILITY)(
        lambda _: None
    )  # all three say that they can; pytest-lsp cannot
    return new


CONFIG = ClientServerConfig(SERVER, client_factory=made, server_env={"PYTHONPATH": str(ROOT)})


@pytest_lsp.fixture(config=CONFIG, params=[*CLIENTS], scope="module")
async def client(lsp_client: LanguageClient, request: pytest.FixtureRequest) -> AsyncIterator[None]:
    can = client_capabilities(request.param)
    answer = await lsp_client.initialize_session(
        types.InitializeParams(can, initialization_options={"commands": ["parc.picture", "parc.build"]})
    )
    assert answer.capabilities.position_encoding == CLIENTS[request.param]
    assert (answer.capabilities.diagnostic_provider is not None) == _pulls(lsp_client)
    yield
    await lsp_client.shutdown_session()


def _pulls(client: LanguageClient) -> bool:
    assert client.capabilities
    assert client.capabilities.text_document
    return client.capabilities.text_document.diagnostic is not None


class Text:
    """A text that is open at a client, which asks about places in it by the words that stand there."""

    def __init__(self, client: LanguageClient, encoding: Encoding, path: Path, text: str) -> None:
        self.client, self.encoding, self.uri = client, encoding, path.as_uri()
        self.source = Source(str(path), text)
        client.text_document_did_open(
            types.DidOpenTextDocumentParams(types.TextDocumentItem(self.uri, "parc", 1, text))
        )

    @property
    def document(self) -> types.TextDocumentIdentifier:
        return types.TextDocumentIdentifier(self.uri)

    def place(self, words: str, shift: int = 0) -> types.Position:
        return types.Position(
            *find_position(self.source, self.source.text.index(words) + shift, self.encoding)
        )

    def range(self, words: str) -> types.Range:
        return types.Range(self.place(words), self.place(words, len(words)))

    def edit(self, edits: list[types.TextEdit]) -> None:
        """As an editor does: the places are all of the text before."""
        text = self.source.text
        for each in sorted(edits, key=lambda edit: (edit.range.start.line, edit.range.start.character))[::-1]:
            start, end = (
                find_offset(self.source, (place.line, place.character), self.encoding)
                for place in (each.range.start, each.range.end)
            )
            text = text[:start] + each.new_text + text[end:]
        self.source = Source(self.source.path, text)
        whole = types.TextDocumentContentChangeWholeDocument(text)
        changed = types.VersionedTextDocumentIdentifier(2, self.uri)
        self.client.text_document_did_change(types.DidChangeTextDocumentParams(changed, [whole]))

    async def diagnostics(self) -> list[types.Diagnostic]:
        if _pulls(self.client):
            found = await self.client.text_document_diagnostic_async(
                types.DocumentDiagnosticParams(self.document)
            )
            assert isinstance(found, types.RelatedFullDocumentDiagnosticReport)
            assert self.uri not in self.client.diagnostics  # never both
            return list(found.items)
        await self.client.wait_for_notification(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        return list(self.client.diagnostics[self.uri])


@pytest.fixture
def encoding(request: pytest.FixtureRequest) -> Encoding:
    return CLIENTS[request.node.callspec.params["client"]]


async def test_faults_are_reported_at_their_place_and_fixed(
    client: LanguageClient, encoding: Encoding, tmp_path: Path
) -> None:
    text = Text(client, encoding, tmp_path / "plan.parc", FAULTY)
    found = {each.code: each for each in await text.diagnostics()}

    assert found["P001"].range == text.range("oops")
    assert found["P107"].range == text.range("cosin")
    context = types.CodeActionContext([])
    actions = await client.text_document_code_action_async(
        types.CodeActionParams(text.document, text.range("cosin"), context)
    )
    (fix,) = [each for each in actions or () if isinstance(each, types.CodeAction) and each.is_preferred]
    assert fix.title == "write `cosine`"
    text.edit([*_edits(fix.edit, text.uri), types.TextEdit(text.range("oops"), "")])
    assert not [each for each in await text.diagnostics() if each.severity == types.DiagnosticSeverity.Error]


def _edits(edit: types.WorkspaceEdit | None, uri: str) -> list[types.TextEdit]:
    """Of one file, in either of the two forms."""
    assert edit
    if edit.changes:
        return list(edit.changes[uri])
    (of_document,) = edit.document_changes or ()
    assert isinstance(of_document, types.TextDocumentEdit)
    assert of_document.text_document.uri == uri
    return [each for each in of_document.edits if isinstance(each, types.TextEdit)]


async def test_what_is_asked_about_a_place_is_answered(
    client: LanguageClient, encoding: Encoding, tmp_path: Path
) -> None:
    text = Text(client, encoding, tmp_path / "plan.parc", SEED)
    where = (text.document, text.place("ep: 8", 1))

    hover = await client.text_document_hover_async(types.HoverParams(*where))
    assert "**axis** `ep`" in hover.contents.value  # all three show Markdown here
    help = await client.text_document_signature_help_async(types.SignatureHelpParams(*where))
    assert help.signatures[0].label.startswith("plan { mesh")
    defined = await client.text_document_definition_async(types.DefinitionParams(*where))
    assert defined.range.start == text.place("ep: 8")
    uses = await client.text_document_references_async(
        types.ReferenceParams(types.ReferenceContext(True), *where)
    )
    assert len(uses) == 3
    prepared = await client.text_document_prepare_rename_async(types.PrepareRenameParams(*where))
    assert prepared.placeholder == "ep"
    chosen = await client.text_document_selection_range_async(
        types.SelectionRangeParams(text.document, [where[1]])
    )
    assert chosen[0].parent.parent
    with pytest.raises(JsonRpcException, match="the axis `tp` exists already"):
        await client.text_document_rename_async(types.RenameParams(*where, "tp"))
    renamed = await client.text_document_rename_async(types.RenameParams(*where, "xp"))
    assert (renamed.document_changes is not None) == _versioned(client)
    text.edit(_edits(renamed, text.uri))
    assert text.source.text == SEED.replace("[ep: 8", "[xp: 8").replace("over [ep]", "over [xp]")


def _versioned(client: LanguageClient) -> bool:
    edits = client.capabilities.workspace.workspace_edit
    return bool(edits and edits.document_changes)


async def test_completions_are_such_as_the_client_can_show(
    client: LanguageClient, encoding: Encoding, tmp_path: Path
) -> None:
    text = Text(client, encoding, tmp_path / "plan.parc", SEED.replace("  expect", "  \n  expect"))
    place = text.place("  \n  expect", 2)

    completed = await client.text_document_completion_async(types.CompletionParams(text.document, place))
    items = {item.label: item for item in completed.items}
    can = client.capabilities.text_document.completion.completion_item
    snippets = [each for each in completed.items if each.insert_text_format == types.InsertTextFormat.Snippet]
    assert bool(snippets) == can.snippet_support
    documentation = items["recompute"].documentation
    assert isinstance(documentation, str if can.documentation_format is None else types.MarkupContent)


async def test_the_whole_file_is_outlined_coloured_and_laid_out(
    client: LanguageClient, encoding: Encoding, tmp_path: Path
) -> None:
    (tmp_path / "plan.parc").write_text(SEED)
    text = Text(client, encoding, tmp_path / "plan.parc", SEED)
    of = (text.document,)
    whole = types.Range(types.Position(0, 0), types.Position(99, 0))
    layout = types.FormattingOptions(2, True)

    symbols = await client.text_document_document_symbol_async(types.DocumentSymbolParams(*of))
    assert [each.name for each in symbols] == ["farm", "moe", "seed", "wide"]
    found = await client.workspace_symbol_async(types.WorkspaceSymbolParams("WID"))
    assert "wide" in [each.name for each in found]
    folds = await client.text_document_folding_range_async(types.FoldingRangeParams(*of))
    assert (folds[0].start_line, folds[0].kind) == (3, None)
    assert await client.text_document_document_link_async(types.DocumentLinkParams(*of)) == ()
    hints = await client.text_document_inlay_hint_async(types.InlayHintParams(*of, whole))
    assert "= 128 ranks" in {hint.label for hint in hints}
    full = await client.text_document_semantic_tokens_full_async(types.SemanticTokensParams(*of))
    part = await client.text_document_semantic_tokens_range_async(types.SemanticTokensRangeParams(*of, whole))
    assert full.data == part.data != []
    assert await client.text_document_formatting_async(types.DocumentFormattingParams(*of, layout)) == ()
    untidy = types.DocumentRangeFormattingParams(*of, whole, layout)
    assert await client.text_document_range_formatting_async(untidy) == ()
    lenses = await client.text_document_code_lens_async(types.CodeLensParams(*of))
    shown = [await client.code_lens_resolve_async(each) for each in lenses]
    assert shown[-1].command.title == "open the picture"
    assert "build" not in {each.command.title for each in shown}  # the workspace is not trusted
