"""Gradients that are not completed, norms of a part of them, and updates that are not made."""

from __future__ import annotations

from collections.abc import Iterator

from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import DeclaredParameter, Mutant, MutationTarget

GRADIENTS = "runtime/gradients.py"
OPTIMIZER = "runtime/optim.py"
TRAINING = "runtime/training.py"
SPLIT = "if split := [axes for axes in squares if axis in axes]:"
STEP = "        self.adamw.step()\n"
TERM = """        def term(packed: Tensor) -> Tensor:
            return self.objective.compute_term(packed, divisor, microbatches)
"""
BACKWARD = "                term(each[-1]).backward()  # type: ignore[no-untyped-call]\n"


@silent_bug("router gradient not summed")
def skip_router_sum(target: MutationTarget) -> Iterator[Mutant]:
    """A router's gradient stays the term of one rank (Megatron-LM #599, over tensor ranks that share tokens).

    Applies to every axis over which a router's gradient is a sum.
    """
    yield from _skip_sums(target, "router")


@silent_bug("norm or bias gradient not summed")
def skip_vector_sum(target: MutationTarget) -> Iterator[Mutant]:
    """A vector's gradient stays the term of one rank: norms under sequence sharding (TransformerEngine #435).

    Applies to every axis over which the gradient of a norm or bias is a sum.
    """
    yield from _skip_sums(target, "vector")


@silent_bug("replica gradient not summed")
def skip_replica_sum(target: MutationTarget) -> Iterator[Mutant]:
    """A matrix's gradient stays the term of one data rank (of one tensor rank, where it is replicated).

    Applies to every axis over which the gradient of a matrix is a sum.
    """
    yield from _skip_sums(target, "matrix")


@silent_bug("norm counts replicas several times")
def count_replicas(target: MutationTarget) -> Iterator[Mutant]:
    """Squares of a parameter that repeats along an axis are summed over it (NeMo-RL #3788).

    Applies to every axis along which some parameter repeats.
    """
    for axis in target.inner:
        if any(target.updates_repeat(parameter, axis) for parameter in target.parameters):
            text = SPLIT.replace("in axes]", f"in axes or axis == {axis!r}]")
            yield target.patch(GRADIENTS, SPLIT, text, f"along `{axis}`", over=[axis])


@silent_bug("norm of one rank's shards")
def count_own_shards(target: MutationTarget) -> Iterator[Mutant]:
    """Of parameters that are sharded over an axis only this rank's shards count: experts (Megatron-LM #5916).

    Applies to every axis that shards a parameter or its update, and to a pipeline.
    """
    for axis in target.inner:
        if any(not target.updates_repeat(parameter, axis) for parameter in target.parameters):
            text = SPLIT.replace("in axes]", f"in axes and axis != {axis!r}]")
            yield target.patch(GRADIENTS, SPLIT, text, f"along `{axis}`", over=[axis])
    if target.pipeline:
        given, site = "if self.pipeline is not None:", "each stage by itself"
        yield target.patch(GRADIENTS, given, "if False:", site, over=target.pipeline)


@silent_bug("one microbatch's gradient kept")
def keep_one_microbatch(target: MutationTarget) -> Iterator[Mutant]:
    """Gradients are those of one microbatch instead of all (Automodel #3530: of the last).

    Applies where a step has several microbatches.
    """
    same = target.one_microbatch
    for which, condition in (("last", "len(seen) == microbatches"), ("first", "len(seen) == 1")):
        counted = TERM.replace("return ", "seen.append(packed)\n            return ")
        counted = counted.replace("microbatches)\n", f"microbatches) * ({condition})\n")
        text = f"        seen: list[Tensor] = []\n\n{counted}"
        yield target.patch(TRAINING, TERM, text, f"only the {which} one's loss counts", equivalent=same)
    if target.pipeline:
        return
    cleared = "                stage.zero_grad()\n" + BACKWARD
    yield target.patch(TRAINING, BACKWARD, cleared, "cleared before each backward pass", equivalent=same)
    axes = sorted({axis for parameter in target.parameters for axis in parameter.reduce})
    same = target.explain_single_rank(axes) if axes else "no gradient is a sum over ranks"
    summed = BACKWARD + "                self.gradients.complete()\n"
    yield target.patch(TRAINING, BACKWARD, summed, "summed after each backward pass", equivalent=same)


@silent_bug("idle expert skipped")
def skip_idle_expert(target: MutationTarget) -> Iterator[Mutant]:
    """The optimizer leaves out an expert that got no token, decay and momentum too (Automodel #2995).

    Applies where there are experts, and the plan does not ask for it. It shows where one is idle for a whole
    step.
    """
    experts = any(len(parameter.shape) > 2 for parameter in target.parameters)
    if not experts or target.skips_idle_experts:
        return
    skips = (
        "        banks = [each.master for each in self.parameters if each.tensor.ndim > 2]\n"
        "        kept = [(bank, bank.clone(), bank.grad == 0) for bank in banks]\n"
        f"{STEP}"
        "        for bank, before, idle in kept:\n"
        "            bank[idle] = before[idle]\n"
    )
    shows = target.idle and target.plan.train.optimizer.weight_decay
    unseen = None if shows else "no expert is idle in this sample, or nothing decays"
    site = "what has no gradient is not updated"
    yield target.patch(OPTIMIZER, STEP, skips, site, undetectable=unseen)


@silent_bug("idle expert updated")
def update_idle_expert(target: MutationTarget) -> Iterator[Mutant]:
    """An expert that got no token decays and is moved, or the step counts for its moments.

    Applies where the plan skips such experts.
    """
    if not target.skips_idle_experts:
        return
    site = "as if its gradient were zero"
    yield target.patch(OPTIMIZER, "                master.grad = None\n", "                pass\n", site)
    counted = f"{STEP}        steps = [state['step'] for state in self.adamw.state.values() if state]\n"
    counted += "        torch._foreach_copy_(steps, [max(steps)] * len(steps))\n"
    yield target.patch(OPTIMIZER, STEP, counted, "steps counted for all experts together")


@silent_bug("busy expert skipped")
def skip_busy_expert(target: MutationTarget) -> Iterator[Mutant]:
    """An expert is taken for idle by the tokens of one rank, though others have sent it theirs.

    Applies where the plan skips idle experts. It shows where an expert gets tokens of some ranks alone.
    """
    if not target.skips_idle_experts:
        return
    axes = target.sample.program.load_axes or ()
    same = target.explain_single_rank(axes) if axes else "no other rank has tokens"
    summed = "        self.topology.sum(counts, axes)\n        return counts\n"
    kept = f"        self.own = counts.clone()\n{summed}"
    of_all, of_one = "found.append(counts.double())", "found.append(getattr(self, 'own', counts).double())"
    text = target.sample.files[TRAINING].decode()
    assert text.count(summed) == text.count(of_all) == 1
    edited = text.replace(summed, kept).replace(of_all, of_one)
    yield Mutant(f"{TRAINING}: by the tokens of each rank alone", {TRAINING: edited.encode()}, same)


@silent_bug("optimizer state lost")
def lose_optimizer_state(target: MutationTarget) -> Iterator[Mutant]:
    """Moments start again (Fast-LLM #436: at a change of layout). It shows from the second step on.

    Applies to every plan.
    """
    cleared = f"        self.adamw.state.clear()\n{STEP}"
    yield target.patch(OPTIMIZER, STEP, cleared, "cleared before each step")


def _skip_sums(target: MutationTarget, kind: str) -> Iterator[Mutant]:
    """For each parameter of a kind and axis over which its gradient is summed, a mutant without that sum."""
    for parameter in target.parameters:
        if _classify(target, parameter) == kind:
            for axis in parameter.reduce:
                left = tuple(each for each in parameter.reduce if each != axis)
                site = f"{parameter.site} over `{axis}`"
                yield target.reduce_over(parameter, left, site, over=[axis])


def _classify(target: MutationTarget, parameter: DeclaredParameter) -> str:
    """A router's weight or bias has a row for each expert, without being of experts."""
    counts = {bank.count for bank in target.banks}
    if parameter.shape[0] in counts and not parameter.experts and not parameter.sharded:
        return "router"
    return "vector" if len(parameter.shape) == 1 else "matrix"
