"""Names that the user's values cannot have in an emitted program: what the runtime and the template use."""

from __future__ import annotations

TAKEN = {
    *("self", "torch", "F", "nn", "layer", "mesh", "list", "Tensor", "counts", "route"),
    *("all_gather", "all_reduce", "first", "gather", "reduce_scatter", "replicate", "split", "take"),
    *("combine", "dispatch", "dispatch_local", "cross_entropy", "sharded_embedding"),
    *("grouped_add", "grouped_linear", "grouped_matmul", "grouped_mul"),
}
