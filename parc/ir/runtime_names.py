"""The names of the runtime that emitted model code uses: the one list of them, by module of the runtime.

Import statements are written from it, no value or class of the user's model may take one of these names, and
the proof finds the calls of the runtime in a program by them. A test holds it against the modules themselves.
"""

from __future__ import annotations

from collections.abc import Mapping

COLLECTIVES = ("all_gather", "all_reduce", "convert", "reduce_scatter")
STATES = ("I", "P", "R", "S")

FORWARD: Mapping[str, tuple[str, ...]] = {
    "capacity": ("keep_within_capacity",),
    "collectives": (*STATES, *COLLECTIVES),
    "experts": ("combine", "dispatch", "dispatch_among", "dispatch_local"),
    "grouped": ("grouped_add", "grouped_linear", "grouped_matmul", "grouped_mul"),
    "recompute": ("is_first_pass", "recompute"),
    "vocabulary": ("cross_entropy", "sharded_embedding"),
}
"""What forward passes use."""

DECLARATIONS: Mapping[str, tuple[str, ...]] = {
    "init": (
        *("constant", "drawn_as", "normal", "scaled", "stored", "trunc_normal", "uniform", "with_zero_row"),
    ),
    "layers": ("ColumnLinear", "GroupedLinear", "RowLinear", "VocabEmbedding", "Weights"),
    "placement": ("Placement", "declare_placements"),
}
"""What the declarations of parameters use."""

RUNTIME: Mapping[str, tuple[str, ...]] = dict(sorted({**FORWARD, **DECLARATIONS}.items()))

TOKEN_COUNTS = "tokens_per_expert"
"""The buffer in which a module of experts counts the tokens that it has sent to each."""

EXPERT_COUNT = "n_experts"
"""The attribute with the number of experts, in modules that read it."""

LOCALS = frozenset(
    {"self", "torch", "F", "nn", "layer", "layers", "mesh", "list", "Tensor", "counts", "kept", "route"}
).union(*FORWARD.values())
"""Names that the values of a forward pass cannot have."""

GLOBALS = LOCALS.union({"DeviceMesh", "PLACEMENTS", "Stage"}, *DECLARATIONS.values())
"""Names that a module class cannot have."""
