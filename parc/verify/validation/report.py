"""Diagnostics of a translation validation."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from parc.capture.source_lines import describe_fault, label_class, label_fault
from parc.diagnostic import Diagnostic, Label, Severity, error
from parc.plan.blocks import Plan
from parc.verify.numbers.compare import GRADIENT, Deviation
from parc.verify.sample.sample import Sample

SHOWN = 4  # parameters that a diagnostic lists


def report_difference(plan: Plan, sample: Sample, model: nn.Module, wrong: Sequence[Deviation]) -> Diagnostic:
    """The first quantity that differs: the losses, then the gradients in the order of the backward pass."""
    order = {name: -place for place, name in enumerate(dict(model.named_parameters()))}
    begun = [each for each in wrong if each.step == min(other.step for other in wrong)]
    figures = [each for each in begun if not each.user_names]
    others = [each for each in begun if each.user_names]
    others.sort(key=lambda each: (not each.what.startswith(GRADIENT), order.get(each.user_names[0], 1)))
    first = figures[0] if figures and figures[0].what in ("loss", "balance loss") else (others or figures)[0]
    module = model.get_submodule(first.user_names[0].rpartition(".")[0]) if first.user_names else model
    at = ", ".join(f"{axis} {place}" for axis, place in sample.plan.mesh.coordinates(first.rank).items())
    off = f"{first.error:.2g} at rank {first.rank} ({at}), more than {first.bound:.2g}"
    values = "value differs" if len(wrong) == 1 else "values differ"
    return error(
        "P513",
        f"the program of plan `{plan.name}` does not compute what `{plan.train.model.source}` computes",
        *label_class(type(module), f"the {first.what} of the program differs"),
        Label(plan.train.model.at("source"), "of this model"),
        notes=(
            f"the {first.what} is off by {off}",
            f"{len(wrong):,} {values} in all; compared at a tiny size: {'; '.join(sample.notes)}",
        ),
        help="nothing was written; this is a fault of parc: report it with the plan and the model",
    )


def report_kept_state(plan: Plan, model: nn.Module, changed: Sequence[str]) -> Diagnostic:
    """A model that does not compute the same when it is called again; `changed`: what a call has changed."""
    names = ", ".join(f"`{name}`" for name in changed[:SHOWN]) + ", .." * (len(changed) > SHOWN)
    what = (
        f"`forward` changes {names}"
        if changed
        else "a variable outside the module changes, or a random number is drawn"
    )
    module = model.get_submodule(changed[0].rpartition(".")[0]) if changed else model
    return error(
        "P505",
        f"`{plan.train.model.source}` computes another result when it is called again: {what}",
        *label_class(type(module), "kept from one call to the next"),
        Label(plan.train.model.at("source"), "called for this plan", primary=False),
        help="compute it from the inputs of `forward`, or leave it out",
    )


def report_counters(plan: Plan, model: nn.Module, changed: Sequence[str]) -> Diagnostic:
    """A model with attributes that every call changes: a later call may compute something else."""
    names = ", ".join(f"`{name}`" for name in changed[:SHOWN]) + ", .." * (len(changed) > SHOWN)
    module = model.get_submodule(changed[0].rpartition(".")[0])
    return error(
        "P505",
        f"`{plan.train.model.source}` changes {names} whenever it is called: a program has no such state",
        *label_class(type(module), "kept from one call to the next"),
        Label(plan.train.model.at("source"), "called for this plan", primary=False),
        help="compute it from the inputs of `forward`, or leave it out",
    )


def report_unsteady_state(plan: Plan, model: nn.Module, names: Sequence[str]) -> Diagnostic:
    """A constructor that makes another model each time; `names`: numbers and buffers that differ."""
    listed = ", ".join(f"`{name}`" for name in names[:SHOWN]) + ", .." * (len(names) > SHOWN)
    module = model.get_submodule(names[0].rpartition(".")[0]) if names else model
    return error(
        "P503",
        f"the constructor of `{plan.train.model.source}` makes other values each time, with the same seed"
        + (f": {listed}" if names else ""),
        *label_class(type(module), "in this class"),
        Label(plan.train.model.at("source"), "built for this plan", primary=False),
        help="draw them from the generators of torch, Python or numpy, which begin with the seed; "
        "a generator of its own needs a number: `numpy.random.default_rng(1)`",
    )


def report_initial_values(plan: Plan, others: Sequence[tuple[str, str]]) -> Diagnostic:
    """Parameters that the program would begin otherwise than the model; `others`: their names, and how."""
    (name, difference), *left = others
    return error(
        "P503",
        f"`{name}` {difference}",
        Label(plan.train.model.at("source"), "as this model is built"),
        notes=tuple(f"`{other}` {how}" for other, how in left[:SHOWN])
        + ((f"and {len(left) - SHOWN} other parameters",) if len(left) > SHOWN else ()),
        help="fill each parameter as a whole with a function of torch.nn.init",
    )


def report_end(plan: Plan, fault: Exception) -> Diagnostic:
    """A program that does not come to the end of its first step."""
    return error(
        "P513",
        f"the program of plan `{plan.name}` does not come to the end of a step: {describe_fault(fault)}",
        *label_fault(fault),
        Label(plan.train.model.at("source"), "the program of this model"),
        help="nothing was written; this is a fault of parc: report it with the plan and the model",
    )


def warn_unchecked(plan: Plan, message: str, *lines: Label) -> Diagnostic:
    label = Label(plan.train.model.at("source"), "of this model")
    return Diagnostic("P514", Severity.WARNING, message, (*lines, label))
