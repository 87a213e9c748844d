"""How messages are handled where pygls handles them otherwise than parc needs."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any, TypeAlias

from lsprotocol import types
from pygls.exceptions import (
    JsonRpcException,
    JsonRpcInvalidParams,
    JsonRpcInvalidRequest,
    JsonRpcParseError,
    JsonRpcServerNotInitialized,
)
from pygls.protocol import LanguageServerProtocol, lsp_method
from pygls.protocol.json_rpc import JsonRPCNotification, JsonRPCRequestMessage, JsonRPCResponseMessage

Handled: TypeAlias = Generator[Any, Any, Any]


class Protocol(LanguageServerProtocol):
    """Messages in the order of the protocol: `initialize`, requests, `shutdown`, `exit`.

    `Workspace` alone keeps texts: pygls keeps none, and applies no edits, whose places may not exist.
    """

    is_initialized = False
    exit_status: int | None = None  # once the client has sent `exit`

    def receive(self, body: bytes) -> None:
        """Handle the message with this body. A message that is malformed or out of order is refused."""
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            self.refuse(None, JsonRpcParseError("a message is not JSON"))
            return
        if not isinstance(data, dict) or data.get("jsonrpc") != "2.0":
            self.refuse(None, JsonRpcInvalidRequest("a message is an object of JSON-RPC 2.0"))
            return
        id, method = data.get("id"), data.get("method")
        if "id" in data and (isinstance(id, bool) or not isinstance(id, str | int)):
            self.refuse(None, JsonRpcInvalidRequest("the id of a message is a number or a text"))
        elif not isinstance(method, str) and (method is not None or "id" not in data):
            self.refuse(id, JsonRpcInvalidRequest("the method of a message is a text"))
        elif fault := self.find_disorder(method):
            self.refuse(id, fault)
        else:
            self.deliver(data)

    def find_disorder(self, method: str | None) -> JsonRpcException | None:
        """Why a request of this method may not come now."""
        if method in (None, types.EXIT):
            return None
        if self._shutdown:
            return JsonRpcInvalidRequest("the server was shut down")
        if method == types.INITIALIZE:
            return JsonRpcInvalidRequest("the server is initialized already") if self.is_initialized else None
        return None if self.is_initialized else JsonRpcServerNotInitialized("`initialize` comes first")

    def deliver(self, data: dict[str, Any]) -> None:
        """Handle a message that is in order."""
        method = data.get("method")
        kind: Any
        if method is None and self._is_unasked(data.get("id")):
            return
        if method is None:
            known = self._result_types.pop(data["id"], None) or JsonRPCResponseMessage
            kind = types.ResponseErrorMessage if "error" in data else known
        else:
            kind = self.get_message_type(method)
            kind = kind or (JsonRPCRequestMessage if "id" in data else JsonRPCNotification)
            data = {"params": None, **data}
        try:
            message = self._converter.structure(data, kind)
        except Exception:  # noqa: BLE001 - whatever is wrong with the parameters
            self.refuse(data.get("id"), JsonRpcInvalidParams(f"`{method}` has other parameters"))
            return
        self.is_initialized |= method == types.INITIALIZE
        self.handle_message(message)

    def _is_unasked(self, id: Any) -> bool:
        """Whether a response answers no request that is waited for: some are cancelled before it comes."""
        future = self._request_futures.get(id)
        if future is not None and future.cancelled():
            del self._request_futures[id], self._result_types[id]
            return True
        return future is None

    def refuse(self, id: str | int | None, fault: JsonRpcException) -> None:
        """Answer a request with an error; a message whose id is not known too, but no notification."""
        if id is None and not isinstance(fault, JsonRpcParseError | JsonRpcInvalidRequest):
            return
        error = {"code": fault.code, "message": fault.message}
        self._send_data({"jsonrpc": "2.0", "id": id, "error": error})

    @lsp_method(types.EXIT)
    def lsp_exit(self, *params: None) -> Handled:
        """Ends the server: with an error unless `shutdown` came before."""
        self.exit_status = 0 if self._shutdown else 1
        yield from ()

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
