"""A gradient norm that is not the whole model's."""

from __future__ import annotations

from collections.abc import Iterator

from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import Mutant, MutationTarget

GRADIENTS = "runtime/gradients.py"
SPLIT = "if split := [axes for axes in squares if axis in axes]:"


@silent_bug("norm counts replicas several times")
def count_replicas(target: MutationTarget) -> Iterator[Mutant]:
    """Squares of a parameter that repeats along an axis are summed over it (NeMo-RL #3788).

    Applies to every axis along which some parameter repeats.
    """
    for axis in target.inner:
        if any(axis not in parameter.sharded for parameter in target.parameters):
            text = SPLIT.replace("if axis in axes]", f"if axis in axes or axis == {axis!r}]")
            yield target.patch(GRADIENTS, SPLIT, text, f"along `{axis}`", over=[axis])


@silent_bug("norm of one rank's shards")
def count_own_shards(target: MutationTarget) -> Iterator[Mutant]:
    """Of parameters that are sharded over an axis only this rank's shards count: experts (Megatron-LM #5916).

    Applies to every axis that shards a parameter, and to a pipeline.
    """
    for axis in target.inner:
        if any(axis in parameter.sharded for parameter in target.parameters):
            text = SPLIT.replace("if axis in axes]", f"if axis in axes and axis != {axis!r}]")
            yield target.patch(GRADIENTS, SPLIT, text, f"along `{axis}`", over=[axis])
    if target.pipeline:
        given = "        if self.pipeline is not None:\n"
        yield target.patch(
            GRADIENTS, given, "        if False:\n", "each stage by itself", over=target.pipeline
        )
