"""`parc diff`: compares two plans."""

from __future__ import annotations

import json
import sys
from argparse import Namespace

from parc.commands.select_plan import select_plan
from parc.commands.status import OK
from parc.render.difference import render
from parc.render.terminal import make_pen
from parc.report.difference import compare_plans
from parc.report.overview import build_overview
from parc.report.serialize import serialize_difference


def run(options: Namespace) -> int:
    overviews = []
    files = (options.before, options.after or options.before)
    for file, name in zip(files, options.plans or (None, None), strict=True):
        selected = select_plan(file, name, options)
        if isinstance(selected, int):
            return selected
        overviews.append(build_overview(selected.plan))
    difference = compare_plans(*overviews)
    if options.format == "json":
        print(json.dumps(serialize_difference(difference), indent=2))
    else:
        print(render(difference, make_pen(sys.stdout)), end="")
    return OK
