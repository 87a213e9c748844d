"""Translation validation: a plan's program, made at a tiny size, computes what the user's module computes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from parc.capture.model.initial_values import STORED
from parc.capture.model.recipes import is_random
from parc.capture.source_lines import describe_fault, label_fault
from parc.diagnostic import CompileError, Diagnostic, Label
from parc.emit.program import Files
from parc.emit.scratch import make_temporary
from parc.emit.write import write
from parc.plan.blocks import Plan
from parc.verify.numbers.compare import GRADIENT, Deviation
from parc.verify.numbers.reference import Reference
from parc.verify.numbers.tolerance import TOLERANCE
from parc.verify.sample.choose import LAYERS, Shapes, choose_sample
from parc.verify.sample.sample import Sample
from parc.verify.sample.tokens import Counts, Tokens, count_tokens, find_idle_step, find_vocabulary
from parc.verify.validation.alike import find_unmatched
from parc.verify.validation.initial_values import find_other_values
from parc.verify.validation.kept_state import find_counters, find_kept_state, find_unsteady_state
from parc.verify.validation.report import (
    report_counters,
    report_difference,
    report_end,
    report_initial_values,
    report_kept_state,
    report_unsteady_state,
    warn_unchecked,
)
from parc.verify.validation.run_step import Expected, compare_program_here
from parc.verify.validation.thread_group import Unsupported

RANKS = 16  # at most, where the axes allow it: each axis at its smallest, and a middle stage
STEPS = 2  # the second update reads what the first has left in the optimizer
ENTRIES = 300  # drawn of a parameter: so many tell half of a standard deviation from the whole
MOST_DRAWS = 40
NOISE = 0.05  # of initial values: a small part of usual activations, and far above rounding


@dataclass(frozen=True)
class Validation:
    """What was compared; `largest` is the largest error, relative to the largest entry of its tensor."""

    roles: int
    gradients: int
    largest: float

    def as_record(self) -> dict[str, object]:
        """For `plan.lock.json`. One digit of the difference is kept: the others are rounding."""
        return {
            "roles": self.roles,
            "gradients": self.gradients,
            "largest_difference": float(f"{self.largest:.0e}"),
        }

    def __str__(self) -> str:
        roles = "1 role" if self.roles == 1 else f"{self.roles} roles"
        return f"checked: {roles}, {self.gradients} gradients, largest difference {self.largest:.0e}"


@contextmanager
def _use_one_thread() -> Iterator[None]:
    """Tensors are tiny: a pool of threads would only spin."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@_use_one_thread()
def validate(
    plan: Plan, files: Files, shapes: Shapes | None = None
) -> tuple[Validation | None, tuple[Diagnostic, ...]]:
    """Compares the first steps of the plan's program, at a tiny size and in float64, with the user's module.

    `files` are the program as it will be written, `shapes` those of the parameters, if known. An error
    where it computes something else; a warning where nothing could be compared, or where a part of it has no
    counterpart at the tiny size.
    """

    def skip(reason: object, *lines: Label) -> tuple[None, tuple[Diagnostic, ...]]:
        return None, (warn_unchecked(plan, f"the program is not checked: {reason}", *lines),)

    try:
        sample, unmatched = _choose_sample(plan, files, shapes)
    except SyntaxError as fault:
        return None, (report_end(plan, fault),)
    except CompileError as faulty:
        return skip("at a tiny size, " + "; ".join(each.message for each in faulty.diagnostics))
    except Exception as fault:  # noqa: BLE001 - the program is made, whatever is wrong with a smaller one
        return skip(describe_fault(fault), *label_fault(fault))
    try:
        run = _run_model(sample)
    except CompileError as faulty:
        return None, faulty.diagnostics
    except Exception as fault:  # noqa: BLE001 - of the user's code
        return skip(f"the model itself does not run: {describe_fault(fault)}", *label_fault(fault))
    try:
        deviations = _compare(sample, run)
    except Unsupported as reason:
        return skip(reason)
    except Exception as fault:  # noqa: BLE001 - whatever ends the program is reported
        return None, (report_end(plan, fault),)
    if wrong := [each for each in deviations if not each.used <= 1]:
        return None, (_explain_difference(plan, sample, run, wrong),)
    if counters := find_counters(run.model, run.reference):
        return None, (report_counters(plan, run.model, counters),)
    warnings = [
        warn_unchecked(plan, f"the {part} is not checked: no smaller program has it") for part in unmatched
    ]
    gradients = {each.what for each in deviations if each.what.startswith(GRADIENT)}
    largest = TOLERANCE * max(each.used for each in deviations)
    return Validation(sample.plan.mesh.size, len(gradients), largest), tuple(warnings)


def _explain_difference(plan: Plan, sample: Sample, run: _ModelRun, wrong: Sequence[Deviation]) -> Diagnostic:
    """Why a program differs from its model: state of the model's own, or a fault of parc."""
    changed = find_kept_state(run.model, run.reference)
    if changed is not None:
        return report_kept_state(plan, run.model, changed)
    unsteady = find_unsteady_state(run.reference)
    if unsteady is not None:
        return report_unsteady_state(plan, run.model, unsteady)
    return report_difference(plan, sample, run.model, wrong)


def _choose_sample(plan: Plan, files: Files, shapes: Shapes | None) -> tuple[Sample, list[str]]:
    """The program that is run, and the parts of `files` that it lacks; a deeper one where it lacks fewer."""
    sample = choose_sample(plan, "fp64", RANKS, shapes)
    unmatched = find_unmatched(files, sample.files)
    if not unmatched:
        return sample, unmatched
    deeper = choose_sample(plan, "fp64", RANKS, shapes, LAYERS[1:])  # with loops over layers that are alike
    left = find_unmatched(files, deeper.files)
    return (deeper, left) if len(left) < len(unmatched) else (sample, unmatched)


@dataclass(frozen=True)
class _ModelRun:
    """The user's module after its first steps, and what it did in them."""

    model: nn.Module
    reference: Reference
    expected: Expected


def _run_model(sample: Sample) -> _ModelRun:
    """Raises CompileError where the program would begin with values of another kind."""
    plan = sample.plan
    tokens = Tokens(find_vocabulary(plan, sample.captured))
    reference = Reference(plan, sample.captured, tokens)
    model = reference.construct_model()
    drawn = _check_initial_values(plan, model, reference)
    values = _draw_values(model, plan.train.seed)
    if plan.train.optimizer.idle_experts == "skip" and (found := find_idle_step(reference, model, tokens)):
        reference = replace(reference, dataset=found)
    steps, loads = [], list[float | None]()
    with count_tokens(model, sample.captured) as counts:
        for step in reference.train(STEPS, model):
            steps.append(step)
            loads.append(_find_load(counts))
            for each in counts.values():
                each.clear()
    return _ModelRun(model, reference, Expected(drawn, values, steps, loads))


def _find_load(counts: Counts) -> float | None:
    """Tokens of the busiest expert over the mean of its layer, in the worst layer; None without experts."""
    layers = [torch.stack(found).sum(0).float() for found in counts.values() if found]
    return max((float(layer.max() / layer.mean()) for layer in layers), default=None)


def _compare(sample: Sample, run: _ModelRun) -> list[Deviation]:
    """How far the program's steps are from those of the user's module."""
    with make_temporary() as scratch:
        folder = scratch / "program"
        write(sample.files, folder)
        deviations = compare_program_here(sample.plan, folder, run.reference.dataset, run.expected)
    compared = {name for each in deviations for name in each.user_names}
    left_out = [name for name in run.expected.values if name not in compared]
    return [*deviations, *(Deviation(name, (name,), 0, 0, math.inf, 0.0, math.inf) for name in left_out)]


def _check_initial_values(plan: Plan, model: nn.Module, reference: Reference) -> dict[str, Tensor]:
    """What the program draws, by name: of the kind of what the constructor of `model` makes.

    Both are drawn several times, since few numbers say little. Raises CompileError where they differ.
    """
    recipes = reference.captured.recipes
    constant = {name for name, recipe in recipes.items() if not is_random(recipe)}
    given, drawn = [_copy_values(model)], [_copy_values(reference.build_model())]
    fewest = min((each.numel() for name, each in given[0].items() if name not in constant), default=ENTRIES)
    for number in range(1, min(MOST_DRAWS, max(2, math.ceil(ENTRIES / fewest)))):
        seed = plan.train.seed + number
        again = replace(reference, plan=replace(plan, train=replace(plan.train, seed=seed)))
        given.append(_copy_values(again.construct_model()))
        drawn.append(_copy_values(again.build_model()))
    stored = {name for name, recipe in recipes.items() if recipe == STORED}
    if others := list(find_other_values(_stack(given), _stack(drawn), constant - stored, stored)):
        raise CompileError(report_initial_values(plan, others))
    return drawn[0]


def _stack(draws: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The values of each parameter in all draws, as one tensor: (draws, ..)."""
    return {name: torch.stack([each[name] for each in draws]) for name in draws[0]}


def _copy_values(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def _draw_values(model: nn.Module, seed: int) -> dict[str, Tensor]:
    """Adds a little noise to every parameter, in place; the values by name.

    Noise tells the shares of a constant apart, moves a zero, and breaks ties between experts.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(noise, alpha=NOISE)
    return _copy_values(model)
