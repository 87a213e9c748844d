"""Ranks that read what they should not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from parc.verify.mutants.mutant import Mutant
from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import Subject
from parc.verify.numbers.reference import build_schedule

TRAINING = "runtime/training.py"
RANK = "        return rank\n"
BATCHES = "Batches(dataset, BATCH)"


@silent_bug("ranks fed the wrong data")
def fed(subject: Subject) -> Iterator[Mutant]:
    """Ranks of one replica read different batches, or replicas the same ones (DeepSpeed #7199).

    Applies to every axis. That data ranks trade their slices is no bug: all is summed over them.
    """
    for axis in subject.inner:
        text = _reseed(f"topology.mesh.get_local_rank({axis!r})")
        yield subject.patch(
            "train.py", BATCHES, text, f"shuffled apart along `{axis}`", subject.alone([axis])
        )
    if subject.pipeline:
        text = _reseed("topology.stage")
        same = subject.alone(subject.pipeline)
        yield subject.patch("train.py", BATCHES, text, "shuffled apart by the stage", same)
    if subject.data:
        same = subject.alone(subject.data)
        yield subject.patch(
            "runtime/topology.py", RANK, "        return 0\n", "all replicas read the first slice", same
        )
        yield subject.patch(
            "runtime/topology.py",
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
    first = "first = step * of.sequences + data_rank * of_rank"
    yield subject.patch(
        "runtime/batches.py", first, "first = data_rank * of_rank", "every step reads the first batch"
    )


@silent_bug("number of the step lost")
def number(subject: Subject) -> Iterator[Mutant]:
    """A step takes the batch or the learning rate of the first. Told from the second step on.

    Applies to every plan; the rate where it changes.
    """
    call, rates = (
        "self.compute_gradients(step)",
        [build_schedule(subject.plan).learning_rate(step) for step in range(3)],
    )
    yield subject.patch(TRAINING, call, "self.compute_gradients(0)", "every step has the batch of the first")
    optimizer = subject.plan.train.optimizer
    flat = optimizer.decay == "constant" and optimizer.warmup <= 1
    found = subject.patch(
        TRAINING,
        "self.update(step)",
        "self.update(0)",
        "every step has the learning rate of the first",
        "the learning rate never changes" if flat else None,
    )
    told = max(rates) - min(rates) > 1e-3 * max(rates)
    yield replace(
        found, undetectable=None if told or flat else "the learning rate hardly changes in three steps"
    )


def _reseed(offset: str) -> str:
    """The batches of another seed on some ranks."""
    return BATCHES.replace("BATCH", f"replace(BATCH, seed=SEED + {offset})")
