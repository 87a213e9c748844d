"""What is parc's own: pictures, pages of rules, and building, which the client's trust allows."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from parc.lsp.language import docs
from parc.lsp.language.picture import Picture, highlight, picture, placing

if TYPE_CHECKING:
    from parc.lsp.protocol.server import Server


def register(server: Server) -> None:
    @server.feature("parc/picture")
    def picture_request(params: Any) -> dict[str, Any] | None:
        """`{textDocument, plan?, position?}` to `{plan, html}`, or `{error}`."""
        return _picture(server, params)

    @server.feature("parc/highlight")
    def highlight_request(params: Any) -> dict[str, Any] | None:
        """`{textDocument, position}` to the message that the page is to be sent."""
        found = server.at(params.textDocument.uri, _position(params.position))
        return highlight(*found) if found else None

    @server.feature("parc/placing")
    def placing_request(params: Any) -> list[dict[str, Any]]:
        """`{textDocument, plan, rank}` to the places that put the rank where it is."""
        analysis = server.analysis(params.textDocument.uri)
        found = placing(analysis, params.plan, params.rank) if analysis else []
        return [{"location": server.convert.location(span), "text": text} for span, text in found]

    @server.feature("parc/page")
    def page_request(params: Any) -> str | None:
        """`{code}` to the page of a rule, in Markdown."""
        return docs.of_link(params.code)

    @server.feature("parc/trust")
    def trust(params: Any) -> None:
        """`{trusted}`: the user has changed it."""
        server.trusted = params.trusted is True

    @server.command("parc.picture")
    def picture_command(argument: Any) -> dict[str, Any] | None:
        return _picture(server, _Named(argument))

    @server.command("parc.build")
    async def build(argument: Any) -> dict[str, Any]:
        """`{uri, plan}` to `{code, output}`: it runs the user's model, in a process of its own."""
        if not server.trusted:
            return {"code": 2, "output": "nothing is run in a workspace that is not trusted"}
        return await _build(server, argument["uri"], argument["plan"])


class _Named:
    """The argument of a command, as the parameters of a request are."""

    def __init__(self, argument: dict[str, Any]) -> None:
        self.uri, self.plan = argument["uri"], argument.get("plan")


def _picture(server: Server, params: Any) -> dict[str, Any] | None:
    uri = params.uri if isinstance(params, _Named) else params.textDocument.uri
    analysis, place = server.analysis(uri), getattr(params, "position", None)
    if analysis is None:
        return {"error": "there is no such file"}
    offset = server.convert.offset(analysis.source, _position(place)) if place else None
    found = picture(analysis, getattr(params, "plan", None), offset)
    return found._asdict() if isinstance(found, Picture) else {"error": found}


def _position(place: Any) -> types.Position:
    return types.Position(place.line, place.character)


async def _build(server: Server, uri: str, plan: str) -> dict[str, Any]:
    path = server.convert.path(uri)
    out = path.with_name(f"{path.stem}.{plan}")
    # -P: nothing that parc itself imports comes from the folder of the plan
    command = (sys.executable, "-P", "-m", "parc", "build", str(path), plan, "-o", str(out))
    pipe, merged = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
    nothing = asyncio.subprocess.DEVNULL  # standard input is the client's
    process = await asyncio.create_subprocess_exec(
        *command, stdin=nothing, stdout=pipe, stderr=merged, cwd=path.parent
    )
    server.builds.add(process)
    output, _ = await process.communicate()
    server.builds.discard(process)
    return {"code": process.returncode, "output": output.decode(errors="replace"), "folder": str(out)}
