"""Converts what the server shows to the types of the protocol: texts, items, symbols, lenses, tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from lsprotocol import types

from parc.lsp.completion.item import Item
from parc.lsp.document.positions import find_position
from parc.lsp.language.code_lenses import Lens
from parc.lsp.language.outline import OutlineItem
from parc.lsp.language.semantic_tokens import MODIFIERS, TYPES, SemanticToken
from parc.lsp.language.signature_help import Signature
from parc.lsp.protocol.client import ProseKind
from parc.lsp.protocol.converter import Converter
from parc.source import Source

SYMBOLS = {
    "train": types.SymbolKind.Class,
    "plan": types.SymbolKind.Class,
    "model": types.SymbolKind.Class,
    "let": types.SymbolKind.Constant,
    "key": types.SymbolKind.Property,
    "claim": types.SymbolKind.Boolean,
}
COMPLETIONS = {
    "block": types.CompletionItemKind.Class,
    "key": types.CompletionItemKind.Property,
    "value": types.CompletionItemKind.Value,
    "name": types.CompletionItemKind.Reference,
    "unit": types.CompletionItemKind.Unit,
    "file": types.CompletionItemKind.File,
    "keyword": types.CompletionItemKind.Keyword,
    "figure": types.CompletionItemKind.Field,
}
COMMANDS = ("picture", "build")  # kinds of lenses that run one; the others are texts
LEGEND = types.SemanticTokensLegend(list(TYPES), list(MODIFIERS))
PLACEHOLDER = re.compile(r"\$(?:[0-9]|\{[0-9]:([^}]*)\})")
MARKUP = re.compile(r"^`{3,}\w*\n?|\*\*", re.M)


def convert_hover(converter: Converter, markdown: str) -> types.MarkupContent:
    """A hover text, as Markdown or as plain text."""
    if "hover" in converter.client.markdown:
        return types.MarkupContent(types.MarkupKind.Markdown, markdown)
    return types.MarkupContent(types.MarkupKind.PlainText, MARKUP.sub("", markdown))


def _convert_documentation(
    converter: Converter, markdown: str, kind: ProseKind
) -> types.MarkupContent | str | None:
    if markdown and kind in converter.client.markdown:
        return types.MarkupContent(types.MarkupKind.Markdown, markdown)
    return MARKUP.sub("", markdown) or None


def convert_item(converter: Converter, source: Source, item: Item) -> types.CompletionItem:
    """A completion item, without placeholders if the client knows no snippets."""
    snippet = item.snippet and converter.client.snippets
    text = item.insert if snippet else PLACEHOLDER.sub(r"\1", item.insert)
    return types.CompletionItem(
        label=item.label,
        kind=COMPLETIONS[item.kind],
        detail=item.detail or None,
        documentation=_convert_documentation(converter, item.doc, "completion"),
        sort_text=f"{item.order:03}",
        filter_text=source.text[item.start : item.end] if item.kind == "unit" else text.split("$")[0],
        insert_text_format=types.InsertTextFormat.Snippet if snippet else None,
        text_edit=types.TextEdit(converter.to_range(source.make_span(item.start, item.end)), text),
    )


def convert_symbol(converter: Converter, item: OutlineItem) -> types.DocumentSymbol:
    """A symbol with all symbols inside it."""
    return types.DocumentSymbol(
        name=item.label,
        detail=item.detail,
        kind=find_symbol_kind(item),
        range=converter.to_range(item.span),
        selection_range=converter.to_range(item.name),
        children=[convert_symbol(converter, each) for each in item.children] or None,
    )


def find_symbol_kind(item: OutlineItem) -> types.SymbolKind:
    return SYMBOLS.get(item.kind, types.SymbolKind.Struct)


def convert_signature(converter: Converter, signature: Signature) -> types.SignatureHelp:
    """The one signature of a block or function."""
    parameters = [
        types.ParameterInformation(label, _convert_documentation(converter, doc, "signature"))
        for label, doc in signature.keys
    ]
    information = types.SignatureInformation(
        signature.label,
        _convert_documentation(converter, signature.doc, "signature"),
        parameters,
        active_parameter=signature.active,
    )
    return types.SignatureHelp([information], active_signature=0, active_parameter=signature.active)


def convert_lens(converter: Converter, path: Path, lens: Lens) -> types.CodeLens:
    """A lens without its command, which `build_command` makes of its data when the lens comes into view."""
    data = {"uri": converter.to_uri(path), "plan": lens.plan, "kind": lens.kind}
    return types.CodeLens(converter.to_range(lens.span), data=data)


def build_command(data: dict[str, str], title: str) -> types.Command:
    """The command of a lens; the command of a lens that is only a text has no name."""
    name = f"parc.{data['kind']}" if data["kind"] in COMMANDS else ""
    return types.Command(title, name, arguments=[{"uri": data["uri"], "plan": data["plan"]}])


def convert_tokens(
    converter: Converter, source: Source, tokens: Iterable[SemanticToken]
) -> types.SemanticTokens:
    """Tokens as the protocol has them: five numbers each, its place relative to the token before."""
    data: list[int] = []
    line, character = 0, 0
    for token in tokens:
        start, end = (
            find_position(source, offset, converter.client.encoding) for offset in (token.start, token.end)
        )
        if start[0] != line:
            character = 0
        data += [start[0] - line, start[1] - character, end[1] - start[1]]
        data += [TYPES.index(token.type), 1 if token.declares else 0]
        line, character = start
    return types.SemanticTokens(data)
