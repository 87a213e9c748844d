"""Resolves the strategies of a plan: the axes that each is laid over, and its options."""

from __future__ import annotations

from parc.plan import blocks
from parc.plan.mesh import Mesh
from parc.plan.placement import MAX_STAGES, spread_layers
from parc.plan.resolve.reader import BlockReader
from parc.plan.suggest import fix_spelling, suggest_spelling
from parc.syntax import tree


class Strategies:
    """The strategies of one plan. `sound`: all of them can be used."""

    def __init__(self, block: BlockReader, mesh: Mesh | None) -> None:
        self.block = block
        self.mesh = mesh
        self.sound = True

    def resolve_data(self) -> blocks.Data | None:
        inner, axes = self.open_strategy("data")
        if inner is None:
            return None
        data = blocks.Data(
            axes=axes,
            shard=inner.read_choice("shard", "none"),
            shard_over=self.read_axes(inner, "shard_over", inner.get_node("shard_over")),
            span=inner.span,
            spans=inner.spans,
        )
        self.sound &= inner.finish()
        return data

    def resolve_tensor(self) -> blocks.Tensor | None:
        inner, axes = self.open_strategy("tensor")
        if inner is None:
            return None
        tensor = blocks.Tensor(
            axes=axes,
            sequence=inner.read_flag("sequence", False),
            column=inner.read_texts("column"),
            row=inner.read_texts("row"),
            replicate=inner.read_texts("replicate"),
            span=inner.span,
            spans=inner.spans,
        )
        self.sound &= inner.finish()
        return tensor

    def resolve_experts(self) -> blocks.Experts | None:
        inner, axes = self.open_strategy("experts")
        if inner is None:
            return None
        split = self.read_axes(inner, "tensor", inner.get_node("tensor"))
        self.sound &= inner.finish()
        return blocks.Experts(axes=axes, tensor=split, span=inner.span, spans=inner.spans)

    def resolve_pipeline(self, shape: blocks.Shape | None) -> blocks.Pipeline | None:
        """The pipeline of a model of this shape; None: it could not be read."""
        inner, axes = self.open_strategy("pipeline")
        if inner is None:
            return None
        schedule = inner.read_choice("schedule", "1f1b")
        chunks = inner.read_count_or("chunks", 1)
        layers = inner.read_counts("layers")
        if layers is None and "layers" not in inner.assignments:
            if shape and shape.layers is not None and self.mesh:
                layers = self.spread_model_layers(inner, shape.layers, self.mesh.product(axes) * chunks)
            elif self.block.sound and shape and not shape.misread and "layers" not in shape.spans:
                help = "or add `layers` to the `shape` of the model"
                inner.report("P104", inner.head, "the pipeline needs `layers`", "`layers` is missing", help)
        self.sound &= inner.finish() and layers is not None
        return blocks.Pipeline(
            axes=axes,
            schedule=schedule,
            chunks=chunks,
            layers=layers or (),
            span=inner.span,
            spans=inner.spans,
        )

    def spread_model_layers(self, inner: BlockReader, layers: int, stages: int) -> tuple[int, ...] | None:
        """The layers of each stage; None, with a report, if the stages exceed the limit."""
        if MAX_STAGES < stages <= layers:
            message = f"a pipeline has at most {MAX_STAGES:,} stages, not {stages:,}"
            inner.report("P005", inner.head, message, f"{stages:,} stages")
            return None
        return spread_layers(layers, stages)

    def open_strategy(self, kind: str) -> tuple[BlockReader | None, tuple[str, ...]]:
        """The reader of `kind over [..] { .. }`, and the axes; None if the plan has no such block."""
        found = self.block.get_blocks(kind)
        if not found:
            return None, ()
        for again in found[1:]:
            self.block.report_duplicate(kind, found[0].kind.span, again.kind.span)
            self.sound = False
        inner = self.block.enter(found[0])
        return inner, self.read_axes(inner, "axes", found[0].over)

    def read_axes(self, inner: BlockReader, key: str, node: tree.Expression | None) -> tuple[str, ...]:
        """The names of axes in a list, without those that the mesh does not have, which are reported."""
        known = self.mesh.names if self.mesh else ()
        axes: list[str] = []
        for name in inner.read_names(key, node):
            if self.mesh and name not in known:
                span = inner.spans[f"{key}.{name}"]
                help, fix = suggest_spelling(name, known), fix_spelling(span, name, known)
                inner.report("P301", span, f"the mesh has no axis `{name}`", "unknown axis", help, fix)
                sure = fix is not None and fix.safe
                self.sound &= sure
                name = fix.edits[0][1] if fix and sure else name
            axes.append(name)
        return tuple(name for name in axes if name in known)
