"""An overview of a plan as one self-contained page, from the templates in `templates/explain/`.

Names from the plan appear as escaped text and as strings of a JSON block that no `</script>` can end, never
as part of a template. The content security policy of the page permits only its own style and script, by
their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from parc.cost.figure import Figure, format_quantity
from parc.render.overview import format_claim, format_range, format_verdict, list_figures
from parc.render.page_data import build_page_data
from parc.render.terminal import LEGEND, MARKS, format_amount, format_count
from parc.report.groups import format_ranks, format_units
from parc.report.overview import Overview
from parc.resources import find_folder

SCRIPTS = ("mesh", "draw", "state", "host", "map", "panel", "line", "charts", "main")
MAX_ROWS = 64  # of the table of stages


def render_page(overview: Overview, rank: int | None = None) -> str:
    """The HTML of the page; `rank` is pinned on the map initially."""
    style = _read_template("page.css")
    script = (
        '(() => {\n"use strict";\n' + "\n".join(_read_template(f"{name}.js") for name in SCRIPTS) + "})();\n"
    )
    policy = (
        f"default-src 'none'; style-src {_hash_source(style)}; script-src {_hash_source(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    plan, batch = overview.plan, overview.plan.train.batch
    microbatches = format_count(batch.microbatches, "microbatch", "microbatches")
    return (
        _create_environment()
        .get_template("page.html.jinja")
        .render(
            policy=Markup(policy),
            style=Markup(style),
            script=Markup(script),
            data=Markup(_embed_json(build_page_data(overview) | {"pinned": rank})),
            plan=plan,
            ranks=f"{plan.mesh.size:,}",
            formula=plan.mesh.format_rank(),
            batch=f"{batch.sequences:,} sequences x {batch.length:,} tokens in {microbatches}",
            tiles=list(_list_tiles(overview)),
            missing=overview.missing,
            schedule=_describe_schedule(overview),
            limit=f"; a device has {format_quantity(overview.limit, 'B')}" if overview.limit else "",
            stages=list(_list_stages(overview)),
            groups=list(_list_groups(overview)),
            claims=list(_list_claims(overview)),
            figures=list(list_figures(overview)),
            amount=format_amount,
            legend=LEGEND,
        )
    )


def _read_template(name: str) -> str:
    return (find_folder("templates") / "explain" / name).read_text(encoding="utf-8")


def _create_environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(find_folder("templates") / "explain"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _hash_source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _embed_json(value: object) -> str:
    """JSON for a script element, escaped so that it cannot end the element or open a comment."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _list_tiles(overview: Overview) -> Iterator[dict[str, Any]]:
    step = overview.step
    fullest = max(
        (stage.memory for stage in overview.stages if stage.memory), key=lambda each: each.value, default=None
    )
    limit = (
        f"{fullest.value / overview.limit:.1%} of {format_quantity(overview.limit, 'B')}"
        if overview.limit and fullest
        else ""
    )
    bubble = (
        f"bubble alone: {format_amount(overview.bubble)}"
        if overview.bubble
        else "of the time of the pipeline"
    )
    active = f"{format_amount(overview.active)} active in the matmuls of a token" if overview.active else ""
    known: list[tuple[str, Figure | None, str]] = [
        ("parameters", overview.parameters, active),
        ("step time", step.time if step else None, ""),
        ("waiting", step.waits if step else None, bubble),
        ("MFU", step.mfu if step else None, ""),
        ("tokens/s", step.tokens if step else None, ""),
        ("memory", fullest, limit or "of one rank"),
        ("arithmetic", overview.flops, "of one device in a step"),
    ]
    for name, figure, more in known:
        if figure:
            over = figure is fullest and overview.limit is not None and figure.value > overview.limit
            yield {"name": name, "value": format_amount(figure), "figure": figure, "more": more, "bad": over}


def _describe_schedule(overview: Overview) -> str:
    if overview.job is None:
        return ""
    layout = overview.job.parallelism
    text = f"{layout.schedule}, {format_count(layout.microbatches, 'microbatch', 'microbatches')}"
    if layout.chunks > 1:
        text += f", {layout.chunks} chunks per rank"
    if overview.step and overview.step.time is None:
        text += "; in units of a forward pass, since the time is unknown"
    return text


def _list_stages(overview: Overview) -> Iterator[dict[str, Any] | None]:
    total = overview.plan.train.model.shape.experts
    for stage in overview.stages:
        if (
            len(overview.stages) > MAX_ROWS
            and MAX_ROWS // 2 <= stage.index < len(overview.stages) - MAX_ROWS // 2
        ):
            if stage.index == MAX_ROWS // 2:
                yield None
            continue
        experts = f"{stage.experts} of {total}" if stage.experts else "-"
        plain = [", ".join(format_range(each) for each in stage.layers), str(stage.moe_layers), experts]
        cells = [{"text": text, "mark": "", "how": ""} for text in plain]
        cells += [_build_cell(figure) for figure in (stage.parameters, stage.share, stage.memory)]
        yield {"index": stage.index, "cells": cells}


def _build_cell(figure: Figure | None) -> dict[str, str]:
    if figure is None:
        return {"text": "-", "mark": "", "how": ""}
    return {
        "text": format_amount(figure),
        "mark": MARKS[figure.grade],
        "how": f"{figure.grade}: {figure.how}",
    }


def _list_claims(overview: Overview) -> Iterator[dict[str, Any]]:
    for each in overview.claims:
        kind = {True: "holds", False: "false", None: "open"}[each.holds]
        text = format_claim(each)
        yield {
            "kind": kind,
            "verdict": format_verdict(each),
            "text": text,
            "figure": each.figure,
            "why": each.missing,
        }


def _list_groups(overview: Overview) -> Iterator[dict[str, str]]:
    for each in overview.groups:
        yield {
            "title": each.strategy.title,
            "over": " x ".join(each.strategy.axes),
            "count": f"{each.count:,}",
            "size": f"{each.size:,}",
            "span": ", ".join(format_units(each.units)) or "all in one",
            "first": format_ranks(each.first),
        }
