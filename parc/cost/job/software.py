"""What the training software does that a plan does not say."""

from __future__ import annotations

from parc.record import dataclass, replace

WIDE = 4  # bytes of 32 bits
MOMENTS = 2  # of AdamW, each as large as the parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """Number formats, fusions and overlaps. The defaults are those of common training software."""

    element_bytes: int = 2  # of an activation, and of a parameter while computing
    gradient_bytes: int = 4  # of an element of the summed gradient
    reduce_bytes: int = 4  # of an element of a gradient as ranks send it
    master_bytes: int = 4  # of a parameter as the optimizer updates it
    moment_bytes: int = 8  # of the optimizer's moments, for each parameter
    flash_attention: bool = True  # attention never writes its scores
    dropout: bool = False
    overlap_gradients: bool = False  # gradients are summed while the last backward passes run
    overlap_tensor: bool = False  # a split matmul starts on those pieces of a gather that have arrived
    deduplicate_tokens: bool = False  # a token is sent once to a rank, however many of its experts are there
    regather_inputs: bool = False  # the gathered input of a split matmul is gathered again, not saved
    parameter_gathers: int = 2  # times that sharded parameters are gathered for one microbatch
    scatter_sends: bool = False  # ranks of `tensor` with the same activations send a part each between stages
    fused_accumulation: bool = True  # the matmul of a weight's gradient adds to the sum of earlier ones
    keeps_collectives: bool = False  # recomputation gets the results of collectives again, and issues none
    kept: tuple[str, ...] = ()  # kinds of parameters in 32 bits, of "norms" and "router"
    emitted: bool = False  # parc's own programs; else Megatron's: their collectives of experts differ

    @property
    def optimizer_bytes(self) -> int:
        """Of moments, and of a master copy where the computation has another type, for each parameter."""
        copy = self.master_bytes if self.master_bytes != self.element_bytes else 0
        return self.moment_bytes + copy

    def widen(self) -> Software:
        """Of the parameters in 32 bits, whatever type others have."""
        element, gradient, reduce = self.element_bytes, self.gradient_bytes, self.reduce_bytes
        return replace(
            self,
            element_bytes=max(WIDE, element),
            gradient_bytes=max(WIDE, gradient),
            reduce_bytes=max(WIDE, reduce),
        )

    @property
    def conversion_bytes(self) -> int:
        """Moved to compute an update in the wider type of masters and moments, for each parameter.

        What has another type is read and written in that type once before the update and once after it, and
        the update itself moves that type.
        """
        each = self.moment_bytes // MOMENTS
        if each == self.master_bytes:
            return 0
        converted = MOMENTS if each < self.master_bytes else 1
        return converted * 4 * max(each, self.master_bytes)
