"""Refactorings: spread layers evenly, move an axis inside a node, set a key to the nearest legal value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import prod

from parc.diagnostic import Diagnostic
from parc.lsp.document.analysis import Analysis
from parc.lsp.document.cursor import CursorContext
from parc.lsp.document.edits import Edit
from parc.lsp.edits.legal_values import find_nearest_legal
from parc.plan.blocks import Plan
from parc.plan.mesh import Mesh
from parc.plan.placement import spread_layers
from parc.syntax import tree

OTHER_MEANING = {
    "model": " (this is another model)",
    "train": " (this changes what is computed)",
    "cluster": " (this is another cluster)",
    "machine": " (this is another machine)",
}
"""What a change of a number in a block means, where it is more than another layout."""
DIGITS = re.compile(r"[0-9]{1,18}")  # longer numbers have no legal value near them


def list_refactors(
    analysis: Analysis, context: CursorContext, touched: Sequence[Diagnostic]
) -> Iterator[tuple[str, list[Edit]]]:
    """Title and edits of each refactoring that applies at the cursor."""
    plan = analysis.find_plan(context.offset)
    if plan and plan.pipeline and analysis.covers(plan.pipeline, context.offset):
        yield from _spread_layers(analysis, plan)
    if plan:
        yield from _move_axis(analysis, plan, context.offset)
    word = context.word
    if touched and word and word.kind == "number" and DIGITS.fullmatch(word.text):
        name, warning = (
            _name_number(context),
            OTHER_MEANING.get(context.top.kind if context.top else "", ""),
        )
        for value in find_nearest_legal(analysis, word.start, word.end, int(word.text)):
            title = f"set {name} to the nearest legal value, {value}{warning}"
            yield title, [(word.start, word.end, str(value))]


def _name_number(context: CursorContext) -> str:
    """What the number at the cursor is: the key, the axis or the level, the constant."""
    inner, body = context.inner, context.body
    words = [each.text for each in body.words]
    if inner is not body and len(inner.words) > 1 and inner.words[-1].text == ":":
        return f"`{inner.words[-2].text}` of `{body.key}`"
    if inner is not body and body.key:
        return f"entry {inner.count} of `{body.key}`"
    if words[:1] == ["let"] and len(words) > 1:
        return f"the constant `{words[1]}`"
    return f"`{body.key}`" if body.key else "this number"


def _spread_layers(analysis: Analysis, plan: Plan) -> Iterator[tuple[str, list[Edit]]]:
    """Spreads the `layers` of a pipeline as evenly as possible."""
    pipeline, layers = plan.pipeline, plan.train.model.shape.layers
    if pipeline is None or layers is None or "layers" not in pipeline.spans:
        return
    even = spread_layers(layers, plan.mesh.product(pipeline.axes) * pipeline.chunks)
    if even and even != pipeline.layers:
        span = analysis.locate(pipeline.at("layers"))
        yield f"spread {layers} layers evenly", [(span.start, span.end, str(list(even)))]


def _move_axis(analysis: Analysis, plan: Plan, offset: int) -> Iterator[tuple[str, list[Edit]]]:
    """Moves the axis at the offset to the place in the mesh where its groups touch the fewest nodes."""
    entries = _list_mesh_entries(analysis, plan)
    index = next((index for index, each in enumerate(entries) if analysis.covers(each, offset)), None)
    if index is None or len(entries) != len(plan.mesh.axes):
        return
    name = entries[index].name.text
    axes = list(plan.mesh.axes)
    axis = axes.pop(index)
    now = _count_nodes(plan, plan.mesh, name)
    meshes = [Mesh((*axes[:at], axis, *axes[at:])) for at in range(len(axes) + 1)]
    best = min(reversed(meshes), key=lambda mesh: _count_nodes(plan, mesh, name))
    touched = _count_nodes(plan, best, name)
    if touched >= now:
        return
    texts = {each.name.text: analysis.locate(each.span).text for each in entries}
    where = "inside the node" if touched == 1 else f"inside {touched} nodes, from {now}"
    swaps = [(analysis.locate(each.span), texts[new]) for each, new in zip(entries, best.names, strict=True)]
    edits = [(span.start, span.end, text) for span, text in swaps if span.text != text]
    yield f"move the axis `{name}` {where}", edits  # one for each entry: comments between them stay


def _count_nodes(plan: Plan, mesh: Mesh, name: str) -> int:
    """The units of the innermost level that one group of the axis touches."""
    levels = [level.size for level in plan.cluster.levels]
    return mesh.count_units([name], levels)[-1] if mesh.size <= prod(levels) else 1


def _list_mesh_entries(analysis: Analysis, plan: Plan) -> list[tree.Pair]:
    for block in analysis.file.statements:
        if isinstance(block, tree.Block) and block.span == plan.span and block.body:
            for statement in block.body.statements:
                if isinstance(statement, tree.Assignment) and statement.path.text == "mesh":
                    items = statement.value.items if isinstance(statement.value, tree.List) else ()
                    return [each for each in items if isinstance(each, tree.Pair)]
    return []
