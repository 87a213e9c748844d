"""The learning rate of every step, and updates of gradients of every size."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from parc.capture.capture import DTYPES
from parc.plan.blocks import Plan

MANY = 2000  # steps whose rates are all looked at; of a longer run, so many
RATE_ERROR = 1e-12  # relative; a rate is a few operations in float64
UPDATE_ERROR = 1e-9  # of the rate, which is how far an update goes, and of the largest entry of a moment
ROUNDED = 1e-14  # of the largest entry of a parameter: a few roundings in float64
SCALES = (1e-9, 1.0, 1e6, 1e18)  # of gradients: below every limit of the norm, and above


def compute_rate(plan: Plan, step: int) -> float:
    """The learning rate of a step: a warm-up, then constant, or half a cosine down to `min_lr` at the end."""
    given = plan.train.optimizer
    if step < given.warmup:
        return given.lr * (step + 1) / given.warmup
    if given.decay == "constant":
        return given.lr
    share = min(1.0, (step - given.warmup) / max(1, plan.train.steps - given.warmup))
    return given.min_lr + (given.lr - given.min_lr) * (0.5 + 0.5 * math.cos(math.pi * share))


def check_rates(trainer: Any, plan: Plan) -> Iterator[str]:
    """The rate of the whole run, up to its last step and beyond."""
    steps = plan.train.steps
    stride = max(1, steps // MANY)
    for step in sorted({*range(0, steps, stride), *range(min(steps, 64)), steps - 1, steps, 2 * steps}):
        expected, found = compute_rate(plan, step), float(trainer.settings.learning_rate(step))
        if not abs(found - expected) <= RATE_ERROR * abs(plan.train.optimizer.lr):
            yield f"the learning rate of step {step} is {found:g}, not {expected:g}"
            return


def check_updates(trainer: Any, plan: Plan) -> Iterator[str]:
    """AdamW with the gradient clipped by its global norm, for gradients from tiny to huge ones.

    Where idle experts are skipped, every other expert is one of them. A rank that finds a fault goes on: the
    others communicate with it.
    """
    faults = list[str]()
    kept = DTYPES[plan.train.precision.moments]
    skips = plan.train.optimizer.idle_experts == "skip"
    banks = trainer.token_counts.items() if skips else ()
    generator = torch.Generator().manual_seed(torch.distributed.get_rank())
    for number, scale in enumerate(SCALES):
        step = max(0, plan.train.steps - 1 - number)  # where a schedule has come down
        for parameter in trainer.parameters:
            drawn = torch.randn(parameter.tensor.shape, generator=generator, dtype=torch.float64)
            parameter.tensor.grad = (drawn * scale).to(parameter.tensor)
        norm, rate = trainer.gradients.compute_norm(), compute_rate(plan, step)
        before = [_copy(trainer, parameter) for parameter in trainer.parameters]
        idle = {
            (path, expert) for path, kept in banks for expert in range(len(kept)) if (number + expert) % 2
        }
        trainer.update(step, norm, idle)
        for parameter, state in zip(trainer.parameters, before, strict=True):
            updated = ~_find_idle_elements(parameter, idle)
            after = _update(plan, state, float(norm), rate)
            expected, mean, square = (
                torch.where(updated, after[each], state[each]) for each in ("value", "mean", "square")
            )
            held = parameter.kept if parameter.gathered else parameter.select_slice(parameter.kept)
            found = held.double()
            if not found.numel():  # the slice of a rank beyond the end of the tensor
                continue
            error = float((found - expected).abs().max())
            if not error <= UPDATE_ERROR * rate + ROUNDED * float(expected.abs().max()):
                large = f"with a gradient norm of {float(norm):.1e}"
                what = f"the update of `{parameter.name}` in step {step}, {large}"
                faults.append(f"{what}, is off by {error:.1e}")
            faults += _compare_moments(trainer, parameter, {"exp_avg": mean, "exp_avg_sq": square}, kept)
            if not torch.equal(_copy_state(trainer, parameter, "step"), state["count"] + updated):
                faults.append(f"the updates of `{parameter.name}` are not counted as they are made")
    yield from faults[:1]


def _find_idle_elements(parameter: Any, idle: Collection[tuple[str, int]]) -> Tensor:
    """Which elements of the master belong to idle experts."""
    found = torch.zeros(parameter.tensor.shape, dtype=torch.bool)
    for row, expert in enumerate(parameter.rows if parameter.banks else ()):
        found[row] = any((path, expert) in idle for path in parameter.banks)
    mine: Tensor = parameter.select_slice(found)
    return mine


def _copy(trainer: Any, parameter: Any) -> dict[str, Tensor]:
    """Value, gradient, moments and number of updates of each element of a master, in float64."""
    return {
        "value": parameter.master.detach().double().clone(),
        "gradient": parameter.gradient.detach().double().clone(),
        "mean": _copy_state(trainer, parameter, "exp_avg"),
        "square": _copy_state(trainer, parameter, "exp_avg_sq"),
        "count": _copy_state(trainer, parameter, "step"),
    }


def _copy_state(trainer: Any, parameter: Any, key: str) -> Tensor:
    """What AdamW keeps of each element of a master; zeros before the first update."""
    kept: Sequence[Tensor] = trainer.optimizer.masters[parameter.name]
    zero = torch.zeros(())
    parts = [
        trainer.optimizer.adamw.state[each].get(key, zero).expand(each.shape).reshape(-1) for each in kept
    ]
    return torch.cat([*parts, torch.zeros(0)]).double().view(parameter.master.shape)


def _compare_moments(
    trainer: Any, parameter: Any, expected: Mapping[str, Tensor], dtype: torch.dtype
) -> Iterator[str]:
    """Moments are kept in `dtype`, rounded to it."""
    for key, moment in expected.items():
        types = {state[key].dtype for state in _list_states(trainer, parameter) if key in state}
        bound = UPDATE_ERROR * moment.abs().max() + torch.finfo(dtype).eps * moment.abs()
        if not types <= {dtype}:
            yield f"`{key}` of `{parameter.name}` is kept in {' and '.join(map(str, types))}, not {dtype}"
        elif not ((_copy_state(trainer, parameter, key) - moment).abs() <= bound).all():
            yield f"`{key}` of `{parameter.name}` is not what the update has computed"


def _list_states(trainer: Any, parameter: Any) -> list[Mapping[str, Tensor]]:
    """What AdamW keeps of the tensors that it takes for a parameter."""
    return [trainer.optimizer.adamw.state[each] for each in trainer.optimizer.masters[parameter.name]]


def _update(plan: Plan, state: Mapping[str, Tensor], norm: float, rate: float) -> dict[str, Tensor]:
    """Value and moments after a step of AdamW, as it is defined, before they are rounded."""
    given = plan.train.optimizer
    gradient, count = state["gradient"], state["count"] + 1
    if given.clip:
        gradient = gradient * min(1.0, given.clip / (norm + 1e-6))
    mean = given.beta1 * state["mean"] + (1 - given.beta1) * gradient
    square = given.beta2 * state["square"] + (1 - given.beta2) * gradient.square()
    value = state["value"] * (1 - rate * given.weight_decay)
    root = (square / (1 - given.beta2**count)).sqrt() + given.eps
    value = value - rate * mean / (1 - given.beta1**count) / root
    return {"value": value, "mean": mean, "square": square}
