"""What the training software does that a plan does not say."""

from __future__ import annotations

from parc.record import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Practice:
    """What the software does that a plan does not say."""

    element: int = 2  # bytes of an activation, and of a parameter while computing
    gradient: int = 4  # bytes of an element of the summed gradient
    state: int = 12  # bytes of master copy and optimizer moments, a parameter
    flash: bool = True  # attention never writes its scores
    dropout: bool = False
    overlap: bool = False  # gradients are summed while the last backward passes run
    overlap_tensor: bool = False  # matmuls start on the pieces of a gather that have come, and so on
    deduplicate: bool = False  # a token goes once to a rank, however many of its experts are there
    regather: bool = False  # a split matmul's gathered input is gathered again, not kept
    gathers: int = 2  # times that sharded parameters are gathered for one microbatch
    scatter: bool = False  # ranks of `tensor` that hold the same pass a part each to the next stage
    fused: bool = True  # a weight's gradient is added up as its matmul writes it
    emitted: bool = False  # parc's own programs; else Megatron's, which differ around experts (`moves.py`)
