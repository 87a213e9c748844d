"""`parc explain --html`: one page that needs nothing else, from the templates in `templates/explain/`.

Names of a plan are text of the template, escaped, and strings of a JSON block that no `</script>` can end;
they are never a template themselves. The page's policy lets its own style and script run, by their hashes,
and nothing else.
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
from parc.render.overview import claim, figures, run, verdict
from parc.render.pagedata import data
from parc.render.terminal import LEGEND, MARKS, amount, plural
from parc.report.groups import formula, ranges, units
from parc.report.overview import Overview
from parc.resources import folder

SCRIPTS = ("mesh", "draw", "state", "host", "map", "panel", "line", "charts", "main")
ROWS = 64  # of the table of stages


def page(of: Overview, rank: int | None = None) -> str:
    """`rank` is pinned on the map from the start."""
    style = _text("page.css")
    script = '(() => {\n"use strict";\n' + "\n".join(_text(f"{name}.js") for name in SCRIPTS) + "})();\n"
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    plan, batch = of.plan, of.plan.train.batch
    microbatches = plural(batch.microbatches, "microbatch", "microbatches")
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            policy=Markup(policy),
            style=Markup(style),
            script=Markup(script),
            data=Markup(_embedded(data(of) | {"pinned": rank})),
            plan=plan,
            ranks=f"{plan.mesh.size:,}",
            formula=formula(plan),
            batch=f"{batch.sequences:,} sequences x {batch.length:,} tokens in {microbatches}",
            tiles=list(_tiles(of)),
            missing=of.missing,
            schedule=_schedule(of),
            limit=f"; a device has {format_quantity(of.limit, 'B')}" if of.limit else "",
            stages=list(_stages(of)),
            groups=list(_groups(of)),
            claims=list(_claims(of)),
            figures=list(figures(of)),
            amount=amount,
            legend=LEGEND,
        )
    )


def _text(name: str) -> str:
    return (folder("templates") / "explain" / name).read_text(encoding="utf-8")


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(folder("templates") / "explain"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _embedded(value: object) -> str:
    """JSON for a script element: nothing in it ends the element or opens a comment."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _tiles(of: Overview) -> Iterator[dict[str, Any]]:
    step = of.step
    fullest = max(
        (stage.memory for stage in of.stages if stage.memory), key=lambda each: each.value, default=None
    )
    limit = (
        f"{fullest.value / of.limit:.1%} of {format_quantity(of.limit, 'B')}" if of.limit and fullest else ""
    )
    bubble = f"bubble alone: {amount(of.bubble)}" if of.bubble else "of the pipeline's time"
    known: list[tuple[str, Figure | None, str]] = [
        ("step time", step.time if step else None, ""),
        ("waiting", step.waits if step else None, bubble),
        ("MFU", step.mfu if step else None, ""),
        ("tokens/s", step.tokens if step else None, ""),
        ("memory", fullest, limit or "of one rank"),
        ("arithmetic", of.flops, "of one device in a step"),
    ]
    for name, figure, more in known:
        if figure:
            over = figure is fullest and of.limit is not None and figure.value > of.limit
            yield {"name": name, "value": amount(figure), "figure": figure, "more": more, "bad": over}


def _schedule(of: Overview) -> str:
    if of.job is None:
        return ""
    layout = of.job.parallelism
    text = f"{layout.schedule}, {plural(layout.microbatches, 'microbatch', 'microbatches')}"
    if layout.chunks > 1:
        text += f", {layout.chunks} chunks a rank"
    if of.step and of.step.time is None:
        text += "; in units of a forward pass, since no time is known"
    return text


def _stages(of: Overview) -> Iterator[dict[str, Any] | None]:
    total = of.plan.train.model.shape.experts
    for stage in of.stages:
        if len(of.stages) > ROWS and ROWS // 2 <= stage.index < len(of.stages) - ROWS // 2:
            if stage.index == ROWS // 2:
                yield None
            continue
        experts = f"{stage.experts} of {total}" if stage.experts else "-"
        plain = [", ".join(run(each) for each in stage.layers), str(stage.moe_layers), experts]
        cells = [{"text": text, "mark": "", "how": ""} for text in plain]
        cells += [_cell(figure) for figure in (stage.parameters, stage.share, stage.memory)]
        yield {"index": stage.index, "cells": cells}


def _cell(figure: Figure | None) -> dict[str, str]:
    if figure is None:
        return {"text": "-", "mark": "", "how": ""}
    return {"text": amount(figure), "mark": MARKS[figure.grade], "how": f"{figure.grade}: {figure.how}"}


def _claims(of: Overview) -> Iterator[dict[str, Any]]:
    for each in of.claims:
        kind = {True: "holds", False: "false", None: "open"}[each.holds]
        text = claim(each)
        yield {
            "kind": kind,
            "verdict": verdict(each),
            "text": text,
            "figure": each.figure,
            "why": each.missing,
        }


def _groups(of: Overview) -> Iterator[dict[str, str]]:
    for each in of.groups:
        yield {
            "title": each.carried.title,
            "over": " x ".join(each.carried.axes),
            "count": f"{each.count:,}",
            "size": f"{each.size:,}",
            "span": ", ".join(units(each.span)) or "all in one",
            "first": ranges(each.first),
        }
