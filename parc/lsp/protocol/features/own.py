"""Requests and commands that are parc's own: pictures, pages of rules, and building, which needs trust."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from parc.lsp.language.picture import Picture, derive_highlight, draw_picture, explain_placement
from parc.lsp.language.schema_docs import find_page
from parc.lsp.protocol.server import Server


def register(server: Server) -> None:
    converter = server.converter

    @server.feature("parc/picture")
    def picture(params: Any) -> dict[str, Any]:
        """`{textDocument, plan?, position?}` to `{plan, html}`, or `{error}`."""
        plan, position = getattr(params, "plan", None), getattr(params, "position", None)
        return _draw_picture(server, _read_uri(params), plan, position)

    @server.feature("parc/highlight")
    def highlight(params: Any) -> dict[str, Any] | None:
        """`{textDocument, position}` to the message for the page."""
        found = server.locate(_read_uri(params), _read_position(_read(params, "position")))
        return derive_highlight(*found) if found else None

    @server.feature("parc/placement")
    def placement(params: Any) -> list[dict[str, Any]]:
        """`{textDocument, plan, rank}` to the places that determine where the rank is."""
        analysis = server.analyse(_read_uri(params))
        plan, rank = _read(params, "plan", str), _read(params, "rank", int)
        found = explain_placement(analysis, plan, rank) if analysis else []
        return [{"location": converter.to_location(span), "text": text} for span, text in found]

    @server.feature("parc/page")
    def page(params: Any) -> str | None:
        """`{code}` to the page of a rule, in Markdown."""
        return find_page(_read(params, "code", str))

    @server.feature("parc/trust")
    def trust(params: Any) -> None:
        """`{trusted}`: the user has changed it."""
        converter.client.trusted = _read(params, "trusted", bool)

    @server.command("parc.picture")
    def picture_command(argument: Any) -> dict[str, Any]:
        """`{uri, plan}` to `{plan, html}`, or `{error}`."""
        plan = _read(argument, "plan", str) if "plan" in argument else None
        return _draw_picture(server, _read(argument, "uri", str), plan, None)

    @server.command("parc.build")
    async def build(argument: Any) -> dict[str, Any]:
        """`{uri, plan}` to `{code, output, folder}`: it runs the user's model, in a process of its own."""
        if not converter.client.trusted:
            return {"code": 2, "output": "nothing is run in a workspace that is not trusted"}
        return await _build(server, _read(argument, "uri", str), _read(argument, "plan", str))


def _draw_picture(server: Server, uri: str, plan: str | None, position: Any) -> dict[str, Any]:
    analysis = server.analyse(uri)
    if analysis is None:
        return {"error": "the file does not exist"}
    offset = server.converter.to_offset(analysis.source, _read_position(position)) if position else None
    found = draw_picture(analysis, plan, offset)
    return found._asdict() if isinstance(found, Picture) else {"error": found}


def _read(params: Any, name: str, kind: type = object) -> Any:
    """A parameter of the kind. Raises JsonRpcInvalidParams if it is missing or of another kind."""
    found = params.get(name) if isinstance(params, dict) else getattr(params, name, None)
    if found is None or not isinstance(found, kind):
        raise JsonRpcInvalidParams(f"the parameter `{name}` is missing or of another type")
    return found


def _read_uri(params: Any) -> str:
    uri: str = _read(_read(params, "textDocument"), "uri", str)
    return uri


def _read_position(position: Any) -> types.Position:
    return types.Position(_read(position, "line", int), _read(position, "character", int))


async def _build(server: Server, uri: str, plan: str) -> dict[str, Any]:
    path = server.converter.to_path(uri)
    folder = path.with_name(f"{path.stem}.{plan}")
    # -P: nothing that parc itself imports comes from the folder of the plan
    command = (sys.executable, "-P", "-m", "parc", "build", str(path), plan, "-o", str(folder))
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,  # the server's is the client's
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=path.parent,
    )
    server.builds.add(process)
    output, _ = await process.communicate()
    server.builds.discard(process)
    return {"code": process.returncode, "output": output.decode(errors="replace"), "folder": str(folder)}
