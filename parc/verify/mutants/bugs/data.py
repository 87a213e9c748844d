"""Ranks that begin with the wrong data, or with other initial values than one device."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import DeclaredParameter, Mutant, MutationTarget
from parc.verify.numbers.reference import build_schedule

INIT = "runtime/init.py"
TOPOLOGY = "runtime/topology.py"
TRAINING = "runtime/training.py"
RANK = "        return rank\n"
BATCHES = "Batches(dataset, BATCH)"
INITIALIZE = "    initialize(parameters, SEED)\n"
KEYED = "name, key = (names[expert], None) if placement.stack else (parameter.name, expert)"


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
    first, site = "first = step * of.sequences + data_rank * of_rank", "every step reads the first batch"
    yield target.patch("runtime/data/batches.py", first, "first = data_rank * of_rank", site)


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
        "self.update(step, norm, idle)",
        "self.update(0, norm, idle)",
        "every step has the learning rate of the first",
        equivalent="the learning rate never changes" if constant else None,
        undetectable=None if changes else "the learning rate hardly changes in three steps",
    )


@silent_bug("experts initialised alike")
def initialize_experts_alike(target: MutationTarget) -> Iterator[Mutant]:
    """Experts begin with the same values: all of them, or those at the same place of each rank (fastmoe #4).

    Applies where experts are drawn at random.
    """
    drawn = [each for each in target.parameters if each.experts and _is_random(each)]
    of_ranks = target.explain_single_rank(target.experts) if target.experts else "each rank has all experts"
    for stacked, key in ((True, "(parameter.name, expert)"), (False, "names[expert]")):
        counts = {each.shape[0] for each in drawn if (each.find_keyword("experts") is not None) is stacked}
        one = "one expert" if counts == {1} else None
        edits = (("0", "all of a bank", one), ("row", "of all ranks", of_ranks))
        for expert, whose, same in edits if counts else ():
            text = KEYED.replace(key, key.replace("expert", expert))
            yield target.patch(INIT, KEYED, text, f"{whose}, {key}", equivalent=same)


@silent_bug("replicas initialised apart")
def initialize_replicas_apart(target: MutationTarget) -> Iterator[Mutant]:
    """Ranks draw from seeds of their own (torchtitan #166).

    Applies to every axis; to those of a pipeline as well, whose stages would draw from other streams.
    """
    for coordinate, where, axes in target.iterate_coordinates():
        text = INITIALIZE.replace("SEED", f"SEED + {coordinate}")
        yield target.patch("train.py", INITIALIZE, text, where, over=axes)


@silent_bug("copies or stored values lost")
def lose_values(target: MutationTarget) -> Iterator[Mutant]:
    """Parameters that begin as copies of others are drawn afresh, or values of the constructor are not read.

    Applies where there are such parameters or buffers, as of upcycled experts or a random projection.
    """
    initial_values = {_get_initial_value(each) for each in target.parameters}
    if any(each.startswith("drawn_as(") for each in initial_values):
        yield target.patch(
            INIT, "draw(seed, str(recipe[0][1]), ", "draw(seed, name, ", "copies are drawn afresh"
        )
    if "stored()" in initial_values:
        read = "open_stored_values().read(name, expert)"
        yield target.patch(INIT, read, "torch.zeros(shape)", "stored values are zeros")
    if target.sample.program.stored_buffers:
        copied = "buffer.copy_(values.read(name))"
        yield target.patch(INIT, copied, "buffer.zero_()", "stored buffers are zeros")


def _is_random(parameter: DeclaredParameter) -> bool:
    """Whether its values are drawn, not constant, copied or stored."""
    return not _get_initial_value(parameter).startswith(("constant(", "drawn_as(", "stored("))


def _get_initial_value(parameter: DeclaredParameter) -> str:
    init = parameter.find_keyword("init")
    return "constant(0.0)" if init is None else ast.unparse(init)
