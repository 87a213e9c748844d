"""Gradients that are not completed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from parc.verify.mutants.mutant import Mutant
from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import Declared, Subject

TRAINING = "runtime/training.py"
OPTIMIZER = "runtime/optim.py"
TERM = """        def term(packed: Tensor) -> Tensor:
            return self.objective.compute_term(packed, divisor, microbatches)
"""
BACKWARD = "                term(each[-1]).backward()  # type: ignore[no-untyped-call]\n"


@silent_bug("router gradient not summed")
def router(subject: Subject) -> Iterator[Mutant]:
    """A router's gradient stays the term of one rank (Megatron-LM #599, over tensor ranks that share tokens).

    Applies to every axis over which a router's gradient is a sum.
    """
    yield from _unsummed(subject, lambda parameter: _routes(subject, parameter))


@silent_bug("norm or bias gradient not summed")
def vectors(subject: Subject) -> Iterator[Mutant]:
    """A vector's gradient stays the term of one rank: norms under sequence sharding (TransformerEngine #435).

    Applies to every axis over which the gradient of a norm or bias is a sum.
    """
    yield from _unsummed(
        subject, lambda parameter: len(parameter.shape) == 1 and not _routes(subject, parameter)
    )


@silent_bug("replica gradient not summed")
def replicas(subject: Subject) -> Iterator[Mutant]:
    """A matrix's gradient stays the term of one data rank (of one tensor rank, where it is replicated).

    Applies to every axis over which the gradient of a matrix is a sum.
    """
    yield from _unsummed(
        subject, lambda parameter: len(parameter.shape) > 1 and not _routes(subject, parameter)
    )


@silent_bug("one microbatch's gradient kept")
def microbatch(subject: Subject) -> Iterator[Mutant]:
    """Gradients are those of one microbatch instead of all (Automodel #3530: of the last).

    Applies where a step has several microbatches.
    """
    same = "one microbatch" if subject.microbatches == 1 else None
    for which, condition in (("last", "len(seen) == microbatches"), ("first", "len(seen) == 1")):
        counted = TERM.replace("return ", "seen.append(packed)\n            return ").replace(
            "microbatches)\n", f"microbatches) * ({condition})\n"
        )
        text = f"        seen: list[Tensor] = []\n\n{counted}"
        yield subject.patch(TRAINING, TERM, text, f"only the {which} one's loss counts", same)
    if subject.pipeline:
        return
    forgets = "                self.stage.zero_grad()\n" + BACKWARD
    yield subject.patch(TRAINING, BACKWARD, forgets, "cleared before each backward pass", same)
    axes = sorted({axis for parameter in subject.parameters for axis in parameter.reduce})
    again = BACKWARD + "                self.gradients.complete()\n"
    unsummed = subject.alone(axes) if axes else "no gradient is a sum over ranks"
    yield subject.patch(TRAINING, BACKWARD, again, "summed after each backward pass", unsummed)


@silent_bug("idle expert skipped")
def idle(subject: Subject) -> Iterator[Mutant]:
    """The optimizer leaves out an expert that got no token, decay and momentum too (Automodel #2995).

    Applies where there are experts; told where one is idle for a whole step.
    """
    if not any(len(parameter.shape) > 2 for parameter in subject.parameters):
        return
    step = "        self.adamw.step()\n"
    skips = (
        "        banks = [each.detach() for each in self.adamw.param_groups[0]['params'] if each.ndim > 2]\n"
        "        idle = [(each.grad == 0).flatten(1).all(1) for each in self.adamw.param_groups[0]['params']"
        " if each.ndim > 2]\n"
        "        before = [bank.clone() for bank in banks]\n"
        f"{step}"
        "        for bank, rows, values in zip(banks, idle, before):\n"
        "            bank[rows] = values[rows]\n"
    )
    found = subject.patch(OPTIMIZER, step, skips, "rows without a gradient are not updated")
    told = subject.idle and subject.plan.train.optimizer.weight_decay
    yield replace(found, undetectable=None if told else "no expert is idle in this trial, or nothing decays")


@silent_bug("optimizer state lost")
def state(subject: Subject) -> Iterator[Mutant]:
    """Moments start again (Fast-LLM #436: at a change of layout). Told from the second step on.

    Applies to every plan.
    """
    step = "        self.adamw.step()\n"
    cleared = f"        self.adamw.state.clear()\n{step}"
    yield subject.patch(OPTIMIZER, step, cleared, "cleared before each step")


def _routes(subject: Subject, parameter: Declared) -> bool:
    """A router's weight or bias: a row an expert, without being one."""
    experts = {unit.experts.count for file in subject.stages for unit in subject.units(file) if unit.experts}
    return parameter.shape[0] in experts and not parameter.experts and not parameter.sharded


def _unsummed(subject: Subject, chosen: Callable[[Declared], bool]) -> Iterator[Mutant]:
    """For each axis over which a parameter's gradient is summed, without that."""
    for parameter in filter(chosen, subject.parameters):
        node = parameter.keyword("reduce")
        if node is None:
            continue
        for axis in parameter.reduce:
            left = tuple(each for each in parameter.reduce if each != axis)
            site = f"{parameter.site} over `{axis}`"
            yield subject.edit(parameter.file, node, repr(left), site, subject.alone([axis]))
