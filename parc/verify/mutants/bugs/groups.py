"""Communication among the wrong ranks."""

from __future__ import annotations

from collections.abc import Iterator

from parc.verify.mutants.mutant import Mutant
from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import Subject


@silent_bug("wrong process group")
def groups(subject: Subject) -> Iterator[Mutant]:
    """A module communicates over another axis of the mesh (Megatron-LM #7452). Of one size, nothing crashes.

    Applies to every module that moves a tensor over an axis, where the mesh has another one.
    """
    moved = {(each.file, each.made.unit, each.move.axis) for each in subject.moves} | subject.inside
    for file, source in subject.stages.items():
        for made in source.groups():
            if (file, made.unit, made.name) not in moved:
                continue
            for other in subject.inner:
                if other != made.name:
                    site = f"{file}, {made.unit}: `{other}` for `{made.name}`"
                    same = subject.alone([made.name, other])
                    yield subject.edit(file, made.call, f"mesh.get_group({other!r})", site, same)
