"""What a client is able to do, and what it asks for, as it says when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from lsprotocol import types
from pygls.capabilities import ServerCapabilitiesBuilder, get_capability

from parc.lsp.document.positions import Encoding
from parc.lsp.language.schema_docs import RULE_PAGES

ProseKind: TypeAlias = Literal["hover", "completion", "signature"]
FORMATS: dict[ProseKind, str] = {
    "hover": "hover.content_format",
    "completion": "completion.completion_item.documentation_format",
    "signature": "signature_help.signature_information.documentation_format",
}
ENCODINGS: dict[str, Encoding] = {"utf-8": "utf-8", "utf-16": "utf-16", "utf-32": "utf-32"}


@dataclass
class Client:
    """Capabilities, and options of `initialize`."""

    encoding: Encoding = "utf-16"
    markdown: frozenset[ProseKind] = frozenset()  # where it shows Markdown; elsewhere it gets plain text
    snippets: bool = False
    related_information: bool = False
    diagnostic_tags: bool = False
    versioned_edits: bool = False
    pulls_diagnostics: bool = False  # it requests diagnostics; else they are pushed
    refreshes_diagnostics: bool = False  # it pulls them again when the server asks for it
    commands: frozenset[str] = frozenset()  # names of commands that it runs
    rule_pages: str = RULE_PAGES  # where the pages of rules are
    trusted: bool = False  # whether the user trusts the workspace


def read_client(params: types.InitializeParams) -> Client:
    """The client that sends these parameters of `initialize`."""
    can = params.capabilities
    document, workspace = can.text_document, can.workspace
    client = Client(encoding=ENCODINGS[ServerCapabilitiesBuilder.choose_position_encoding(can)])
    _read_options(client, params.initialization_options)
    if document:
        publish, item = (
            document.publish_diagnostics,
            document.completion and document.completion.completion_item,
        )
        client.pulls_diagnostics = document.diagnostic is not None
        client.related_information = bool(publish and publish.related_information) or client.pulls_diagnostics
        client.diagnostic_tags = bool(publish and publish.tag_support) or client.pulls_diagnostics
        client.snippets = bool(item and item.snippet_support)
        client.markdown = frozenset(
            kind
            for kind, name in FORMATS.items()
            if types.MarkupKind.Markdown in (get_capability(can, f"text_document.{name}") or ())
        )
    if workspace:
        edit, diagnostics = workspace.workspace_edit, workspace.diagnostics
        client.versioned_edits = bool(edit and edit.document_changes)
        client.refreshes_diagnostics = bool(diagnostics and diagnostics.refresh_support)
    return client


def _read_options(client: Client, options: object) -> None:
    """`initializationOptions`; docs/editor.md lists them."""
    if not isinstance(options, dict):
        return
    client.trusted = options.get("trusted") is True
    if isinstance(pages := options.get("pages"), str):
        client.rule_pages = pages
    if isinstance(commands := options.get("commands"), list):
        client.commands = frozenset(str(each).removeprefix("parc.") for each in commands)
