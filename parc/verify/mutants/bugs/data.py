"""Ranks that read the wrong data."""

from __future__ import annotations

from collections.abc import Iterator

from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import Mutant, MutationTarget
from parc.verify.numbers.reference import build_schedule

TRAINING = "runtime/training.py"
TOPOLOGY = "runtime/topology.py"
RANK = "        return rank\n"
BATCHES = "Batches(dataset, BATCH)"


@silent_bug("ranks fed the wrong data")
def feed_wrong_data(target: MutationTarget) -> Iterator[Mutant]:
    """Ranks of one replica read different batches, or replicas the same ones (DeepSpeed #7199).

    Applies to every axis. Data ranks may trade their slices: everything is summed over them.
    """
    for coordinate, where, axes in target.iterate_coordinates():
        text = BATCHES.replace("BATCH", f"replace(BATCH, seed=SEED + {coordinate})")
        yield target.patch("train.py", BATCHES, text, f"shuffled apart {where}", over=axes)
    if target.data:
        first, last = "        return 0\n", "        return self.data_ranks - 1 - rank\n"
        yield target.patch(TOPOLOGY, RANK, first, "all replicas read the first slice", over=target.data)
        traded = "the slices of a microbatch are permuted among ranks over which everything is summed"
        same = target.explain_single_rank(target.data) or traded
        yield target.patch(TOPOLOGY, RANK, last, "replicas trade their slices", equivalent=same)


@silent_bug("position in the data lost")
def lose_position(target: MutationTarget) -> Iterator[Mutant]:
    """Every step reads the first batch (accelerate #4071: after a restart). It shows from the second step on.

    Applies to every plan.
    """
    first = "first = step * of.sequences + data_rank * of_rank"
    text = "first = data_rank * of_rank"
    yield target.patch("runtime/batches.py", first, text, "every step reads the first batch")


@silent_bug("number of the step lost")
def lose_step_number(target: MutationTarget) -> Iterator[Mutant]:
    """Every step has the batch or the learning rate of the first. It shows from the second step on.

    Applies to every plan; the rate where it changes.
    """
    call = "self.compute_gradients(step)"
    yield target.patch(TRAINING, call, "self.compute_gradients(0)", "every step has the batch of the first")
    optimizer, schedule = target.plan.train.optimizer, build_schedule(target.plan)
    rates = [schedule.learning_rate(step) for step in range(3)]
    constant = optimizer.decay == "constant" and optimizer.warmup <= 1
    changes = max(rates) - min(rates) > 1e-3 * max(rates)
    yield target.patch(
        TRAINING,
        "self.update(step)",
        "self.update(0)",
        "every step has the learning rate of the first",
        equivalent="the learning rate never changes" if constant else None,
        undetectable=None if changes else "the learning rate hardly changes in three steps",
    )
