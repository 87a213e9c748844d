"""Communication among the wrong ranks."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from parc.verify.mutants.mutant import Mutant
from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import MutationTarget


@silent_bug("wrong process group")
def swap_groups(target: MutationTarget) -> Iterator[Mutant]:
    """A module communicates over another axis of the mesh (Megatron-LM #7452). Of one size, nothing crashes.

    Applies to every module that communicates over an axis, where the mesh has another one.
    """
    for file, source in target.files.items():
        for unit, call in source.find_calls(("mesh.get_group",)):
            axis = ast.literal_eval(call.args[0])
            others = target.inner if (file, unit, axis) in target.communicating else ()
            for other in others:
                if other != axis:
                    site = f"{file}, {unit}: `{other}` for `{axis}`"
                    yield target.edit(file, call, f"mesh.get_group({other!r})", site, over=[axis, other])
