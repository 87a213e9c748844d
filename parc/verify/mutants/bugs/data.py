"""Ranks that read what they should not."""

from __future__ import annotations

from collections.abc import Iterator

from parc.verify.mutants.mutant import Mutant, silent_bug
from parc.verify.mutants.subject import Subject

RANK = "        return rank\n"
BATCHES = "Batches(dataset, seed=SEED, **BATCH)"


@silent_bug("ranks fed the wrong data")
def fed(subject: Subject) -> Iterator[Mutant]:
    """Ranks of one replica read different batches, or replicas the same ones (DeepSpeed #7199).

    Applies to every axis. That data ranks trade their slices is no bug: all is summed over them.
    """
    for axis in subject.inner:
        text = BATCHES.replace("SEED", f"SEED + layout.mesh.get_local_rank({axis!r})")
        yield subject.patch(
            "train.py", BATCHES, text, f"shuffled apart along `{axis}`", subject.alone([axis])
        )
    if subject.pipeline:
        text = BATCHES.replace("SEED", "SEED + layout.stage")
        same = subject.alone(subject.pipeline)
        yield subject.patch("train.py", BATCHES, text, "shuffled apart by the stage", same)
    if subject.data:
        same = subject.alone(subject.data)
        yield subject.patch(
            "runtime/layout.py", RANK, "        return 0\n", "all replicas read the first slice", same
        )
        yield subject.patch(
            "runtime/layout.py",
            RANK,
            "        return self.data_ranks - 1 - rank\n",
            "replicas trade their slices",
            same or "the slices of a microbatch are permuted among ranks over which all is summed",
        )


@silent_bug("position in the data lost")
def position(subject: Subject) -> Iterator[Mutant]:
    """Every step reads the first batch (accelerate #4071: after a restart). Told from the second step on.

    Applies to every plan.
    """
    first = "first = step * self.sequences + data_rank * of_rank"
    yield subject.patch(
        "runtime/data.py", first, "first = data_rank * of_rank", "every step reads the first batch"
    )


@silent_bug("number of the step lost")
def number(subject: Subject) -> Iterator[Mutant]:
    """A step takes the batch or the learning rate of the first. Told from the second step on.

    Applies to every plan.
    """
    for call, what in (("self.gradients(step)", "batch"), ("self.update(step)", "learning rate")):
        text = call.replace("step)", "0)")
        yield subject.patch("runtime/training.py", call, text, f"every step has the {what} of the first")
