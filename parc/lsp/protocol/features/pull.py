"""The client pulls diagnostics."""

from __future__ import annotations

import asyncio

from lsprotocol import types

from parc.lsp.protocol.server import Server


def register(server: Server) -> None:
    options = types.DiagnosticOptions(True, False, "parc")

    @server.feature(types.TEXT_DOCUMENT_DIAGNOSTIC, options)
    async def diagnostic(params: types.DocumentDiagnosticParams) -> types.DocumentDiagnosticReport:
        await asyncio.sleep(0)  # a request that is cancelled already is not worked on
        analysis = server.files.analyse(server.converter.to_path(params.text_document.uri))
        found = server.converter.to_diagnostics(analysis) if analysis else []
        if analysis and analysis.path in server.files.open_files:
            server.reported[analysis.path] = analysis.number
        identity = str(analysis.number) if analysis else None
        if identity and params.previous_result_id == identity:
            return types.RelatedUnchangedDocumentDiagnosticReport(identity)
        return types.RelatedFullDocumentDiagnosticReport(found, result_id=identity)
