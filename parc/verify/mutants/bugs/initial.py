"""Initial values that a layout changes."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from parc.verify.mutants.mutant import Mutant
from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import Declared, Subject

KEYED = "name, key = (names[expert], None) if placement.stack else (parameter.name, expert)"


@silent_bug("experts initialised alike")
def alike(subject: Subject) -> Iterator[Mutant]:
    """Experts begin with the same values: all of them, or those at the same place of each rank (fastmoe #4).

    Applies where experts are drawn at random.
    """
    drawn = [parameter for parameter in subject.parameters if parameter.experts and _random(parameter)]
    sliced = [parameter for parameter in drawn if parameter.keyword("experts")]
    listed = [parameter for parameter in drawn if not parameter.keyword("experts")]
    for mine, old, new in (
        (sliced, "(parameter.name, expert)", "(parameter.name, {})"),
        (listed, "names[expert]", "names[{}]"),
    ):
        if not mine:
            continue
        same = "one expert" if all(parameter.shape[0] == 1 for parameter in mine) else None
        text = KEYED.replace(old, new.format(0))
        yield subject.patch("runtime/init.py", KEYED, text, f"all of a bank, {old}", same)
        axes = subject.plan.experts.axes if subject.plan.experts else ()
        same = subject.alone(axes) if axes else "each rank has all experts"
        text = KEYED.replace(old, new.format("row"))
        yield subject.patch("runtime/init.py", KEYED, text, f"of all ranks, {old}", same)


@silent_bug("replicas initialised apart")
def apart(subject: Subject) -> Iterator[Mutant]:
    """Ranks draw from seeds of their own (torchtitan #166).

    Applies to every axis; to those of a pipeline as well, whose stages would draw from other streams.
    """
    call = "    initialize(parameters, SEED)\n"
    for axis in subject.inner:
        text = call.replace("SEED", f"SEED + topology.mesh.get_local_rank({axis!r})")
        yield subject.patch("train.py", call, text, f"along `{axis}`", subject.alone([axis]))
    if subject.pipeline:
        text, same = call.replace("SEED", "SEED + topology.stage"), subject.alone(subject.pipeline)
        yield subject.patch("train.py", call, text, "by the stage", same)


def _random(parameter: Declared) -> bool:
    init = parameter.keyword("init")
    return init is not None and not ast.unparse(init).startswith("constant(")
