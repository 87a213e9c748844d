"""Initial values that a layout changes."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import DeclaredParameter, Mutant, MutationTarget

INIT = "runtime/init.py"
KEYED = "name, key = (names[expert], None) if placement.stack else (parameter.name, expert)"


@silent_bug("experts initialised alike")
def initialize_experts_alike(target: MutationTarget) -> Iterator[Mutant]:
    """Experts begin with the same values: all of them, or those at the same place of each rank (fastmoe #4).

    Applies where experts are drawn at random.
    """
    drawn = [parameter for parameter in target.parameters if parameter.experts and _is_random(parameter)]
    sliced = [parameter for parameter in drawn if parameter.find_keyword("experts")]
    listed = [parameter for parameter in drawn if not parameter.find_keyword("experts")]
    axes = target.plan.experts.axes if target.plan.experts else ()
    for mine, old, new in (
        (sliced, "(parameter.name, expert)", "(parameter.name, {})"),
        (listed, "names[expert]", "names[{}]"),
    ):
        if not mine:
            continue
        same = "one expert" if all(parameter.shape[0] == 1 for parameter in mine) else None
        text = KEYED.replace(old, new.format(0))
        yield target.patch(INIT, KEYED, text, f"all of a bank, {old}", equivalent=same)
        same = target.explain_single_rank(axes) if axes else "each rank has all experts"
        text = KEYED.replace(old, new.format("row"))
        yield target.patch(INIT, KEYED, text, f"of all ranks, {old}", equivalent=same)


@silent_bug("replicas initialised apart")
def initialize_replicas_apart(target: MutationTarget) -> Iterator[Mutant]:
    """Ranks draw from seeds of their own (torchtitan #166).

    Applies to every axis; to those of a pipeline as well, whose stages would draw from other streams.
    """
    call = "    initialize(parameters, SEED)\n"
    for coordinate, where, axes in target.iterate_coordinates():
        text = call.replace("SEED", f"SEED + {coordinate}")
        yield target.patch("train.py", call, text, where, over=axes)


def _is_random(parameter: DeclaredParameter) -> bool:
    init = parameter.find_keyword("init")
    return init is not None and not ast.unparse(init).startswith("constant(")
