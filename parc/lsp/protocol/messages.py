"""How messages are handled where pygls handles them otherwise than parc needs."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.protocol import LanguageServerProtocol, lsp_method

Handled: TypeAlias = Generator[Any, Any, None]


class Protocol(LanguageServerProtocol):
    """`Workspace` alone keeps texts: pygls keeps none, and applies no edits, whose places may not exist."""

    def structure_message(self, data: dict[str, Any]) -> Any:
        """Answers also a request that is malformed, such as one for the line -1."""
        try:
            return super().structure_message(data)
        except JsonRpcException as fault:
            if "id" in data and "method" in data:
                self._send_response(data["id"], error=fault.to_response_error())
            raise

    @lsp_method(types.SHUTDOWN)
    def lsp_shutdown(self, params: None) -> Handled:
        """Cancels all requests, from a copy: a future that ends removes itself from the dictionary."""
        for id, future in list(self._request_futures.items()):
            if id != self.msg_id:  # this one
                future.cancel()
        yield from super().lsp_shutdown(params)

    @lsp_method(types.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: types.DidOpenTextDocumentParams) -> Handled:
        yield self.fm.features[types.TEXT_DOCUMENT_DID_OPEN], (params,), None

    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> Handled:
        yield self.fm.features[types.TEXT_DOCUMENT_DID_CHANGE], (params,), None

    @lsp_method(types.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: types.DidCloseTextDocumentParams) -> Handled:
        yield self.fm.features[types.TEXT_DOCUMENT_DID_CLOSE], (params,), None
