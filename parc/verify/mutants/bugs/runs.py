"""What a few steps do not show: schedules and data of a long run, its loop, rare values, figures."""

from __future__ import annotations

from collections.abc import Iterator

from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import Mutant, MutationTarget

BATCHES = "runtime/data/batches.py"
EXPERTS = "runtime/experts.py"
GRADIENTS = "runtime/gradients.py"
OBJECTIVE = "runtime/objective.py"
OPTIMIZER = "runtime/optim.py"
TRAINING = "runtime/training.py"
LOOP = """\
    if torch.distributed.get_rank() != 0:
        for step in range(options.steps):
            trainer.step(step)
        return
    progress = Progress(options.steps)
    with MetricsWriter(options.out) as metrics:
        for step in range(options.steps):
"""
COMPLETE = "        self.gradients.complete()\n"
UPDATE = "        self.optimizer.step(step, idle)\n"


@silent_bug("schedule off late in the run")
def bend_schedule(target: MutationTarget) -> Iterator[Mutant]:
    """The first steps have the right learning rate, the last ones have not.

    Applies where the rate decays.
    """
    given = target.plan.train.optimizer
    constant = "the learning rate does not decay" if given.decay == "constant" else None
    zero = "the rate decays to 0" if given.min_lr == 0 else None
    steps, value = "max(1, self.steps - self.warmup)", "self.min_lr + (self.lr - self.min_lr) *"
    early, higher = "max(1, self.steps - 1 - self.warmup)", f"10 * {value}"
    yield target.patch(OPTIMIZER, steps, early, "ends a step early", equivalent=constant)
    left_out = 'if self.decay == "constant":'
    yield target.patch(OPTIMIZER, left_out, "if True:", "decay left out", equivalent=constant)
    yield target.patch(OPTIMIZER, value, higher, "min_lr times 10", equivalent=constant or zero)


@silent_bug("data wrong later in the run")
def freeze_data(target: MutationTarget) -> Iterator[Mutant]:
    """From some step on, batches are others than they should be, or every pass has the order of the first.

    Applies to every plan.
    """
    first, frozen = "first = step * of.sequences", "first = min(step, 3) * of.sequences"
    yield target.patch(BATCHES, first, frozen, "the fourth batch again and again")
    call, late = "self.compute_gradients(step)", "self.compute_gradients(min(step, 3))"
    yield target.patch(TRAINING, call, late, "the fourth step again and again")
    key = 'f"{self.settings.seed}/{epoch}"'
    yield target.patch(BATCHES, key, 'f"{self.settings.seed}/0"', "every pass in one order")


@silent_bug("loop off by a step")
def shift_loop(target: MutationTarget) -> Iterator[Mutant]:
    """The loop of the program takes other steps than those that it is asked for.

    Applies to every plan.
    """
    for steps, site in (
        ("range(1, options.steps + 1)", "begins with step 1"),
        ("[0, *range(options.steps - 1)]", "takes step 0 twice"),
        ("range(options.steps - 1)", "leaves out the last step"),
    ):
        text = LOOP.replace("range(options.steps)", steps)
        yield target.patch("train.py", LOOP, text, site)


@silent_bug("large step skipped")
def skip_large_step(target: MutationTarget) -> Iterator[Mutant]:
    """A step whose gradient has a large norm is left out. It shows where norms are large.

    Applies to every plan.
    """
    text = "        if norm < 1e3:\n    " + UPDATE
    yield target.patch(TRAINING, UPDATE, text, "with a norm above 1,000")


@silent_bug("value that is not finite hidden")
def hide_not_finite(target: MutationTarget) -> Iterator[Mutant]:
    """Gradients that are not numbers become 0, or train on.

    Applies to every plan.
    """
    zeroed = (
        f"{COMPLETE}        for parameter in self.parameters:\n"
        "            parameter.ensure_gradient().nan_to_num_(0.0, 0.0, 0.0)\n"
    )
    yield target.patch(TRAINING, COMPLETE, zeroed, "set to 0")
    stop = "if not math.isfinite(loss + balance + norm_value):"
    yield target.patch(TRAINING, stop, "if False:", "trained on")


@silent_bug("later gradient buckets dropped")
def drop_buckets(target: MutationTarget) -> Iterator[Mutant]:
    """Only the first bucket of gradients is summed. It shows where there are several.

    Applies where some gradient is a sum.
    """
    axes = sorted({axis for parameter in target.parameters for axis in parameter.reduce})
    buckets = "self._buckets = list(self._make_buckets())"
    same = target.explain_single_rank(axes) if axes else "no gradient is a sum over ranks"
    yield target.patch(GRADIENTS, buckets, f"{buckets}[:1]", "all but the first", equivalent=same)


@silent_bug("rank without rows leaves the exchange")
def leave_exchange(target: MutationTarget) -> Iterator[Mutant]:
    """A rank that gets no rows does not join the all-to-all, and the others wait for it.

    Applies where rows are sent.
    """
    axes = sorted({bank.travel for bank in target.banks if bank.travel})
    if axes:
        call = "    dist.all_to_all_single(out, rows.contiguous(), received, sent, group=group)\n"
        yield target.patch(EXPERTS, call, f"    if len(out):\n    {call}", "without rows", over=axes)


@silent_bug("rows beyond a cap dropped")
def cap_rows(target: MutationTarget) -> Iterator[Mutant]:
    """An expert computes no more than 4,096 rows. It shows with large batches.

    Applies where there are experts.
    """
    if target.banks:
        fuse = "    if _can_fuse(rows, weight):\n"
        capped = (
            "    parts = torch.split(rows, counts.numbers)\n"
            "    rows = torch.cat([torch.cat([part[:4096], 0 * part[4096:]]) for part in parts])\n"
        )
        yield target.patch("runtime/grouped.py", fuse, capped + fuse, "more than 4,096 of an expert")


@silent_bug("ignored labels counted")
def count_ignored(target: MutationTarget) -> Iterator[Mutant]:
    """Labels to be ignored count in what losses are divided by, or have a loss of their own.

    Applies where the model returns logits; to the loss, where its vocabulary lies on several ranks.
    """
    if not target.sample.program.mean:
        valid = "valid = (labels != self.ignore_index).sum()"
        yield target.patch(OBJECTIVE, valid, "valid = torch.ones_like(labels).sum()", "in the divisor")
    if axes := target.find_axes(("cross_entropy",), keyword="vocabulary"):
        masked, site = "valid = labels != ignore_index\n        ctx", "not masked in the loss"
        text = "valid = torch.ones_like(labels, dtype=torch.bool)\n        ctx"
        yield target.patch("runtime/vocabulary.py", masked, text, site, over=axes)


@silent_bug("figure counted again")
def count_figures_again(target: MutationTarget) -> Iterator[Mutant]:
    """What is reported of a step has that of others in it, or is a multiple of it.

    Applies to every plan; to the counts of tokens, where there are experts.
    """
    rate = "batch.sequences * batch.length / seconds"
    yield target.patch(TRAINING, rate, f"2 * {rate}", "tokens a second")
    if target.banks:
        clear = "        torch._foreach_zero_(kept)\n"
        yield target.patch(TRAINING, clear, "", "tokens of experts never cleared")


@silent_bug("factor right for two ranks alone")
def scale_for_two(target: MutationTarget) -> Iterator[Mutant]:
    """A factor that should be the number of ranks is 2, or the reverse.

    Applies where data lie on several ranks.
    """
    if target.data and not target.sample.program.mean:
        ranks = target.plan.mesh.product(target.data)
        unseen = "data lie on two ranks here" if ranks == 2 else None
        valid, text = "valid.clamp(min=1)", "valid.clamp(min=1) * topology.data_ranks / 2"
        site = "the divisor"
        yield target.patch(OBJECTIVE, valid, text, site, over=target.data, undetectable=unseen)
