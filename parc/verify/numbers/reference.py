"""The reference: the user's model, trained on one device in the plainest loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parc.capture.capture import DTYPES
from parc.capture.experts.bank import find_banks
from parc.capture.initializers import Recipe
from parc.capture.module_tree import find_layers
from parc.capture.objective import names_of_inputs
from parc.capture.promotion import promote_casts
from parc.capture.user_model import find_factory, plain_arguments
from parc.plan.blocks import Plan
from parc.runtime.datasets import Dataset
from parc.runtime.init import draw
from parc.runtime.optim import AdamWSettings
from parc.verify.execution.trainer import FIGURES
from parc.verify.numbers.tolerance import FLOOR, TOLERANCE, largest_entry
from parc.verify.sample.tokens import build_batches


@dataclass(frozen=True)
class ReferenceStep:
    """One optimizer step. Tensors have the names of the user's model; `figures` those of a program's step."""

    figures: Mapping[str, float]
    gradients: Mapping[str, Tensor]  # before clipping
    parameters: Mapping[str, Tensor]  # after the update
    gradient_floor: float  # a gradient below that is zero but for rounding
    parameter_floor: float  # rounding alone may have made a parameter of that size


ROUNDED = 1e-16  # of the largest gradient: what rounding leaves of a zero gradient, as that of a key's bias


def build_model(plan: Plan, recipes: Mapping[str, Recipe]) -> nn.Module:
    """The model on the CPU, with the initial values that every layout starts from."""
    facts = plan.train.model
    dtype = DTYPES[plan.train.precision.compute]
    model = find_factory(facts)(**plain_arguments(facts))
    assert isinstance(model, nn.Module)
    model.to(dtype)
    found = find_banks(model, find_layers(model, facts.shape.layers), facts.experts)
    stacked = {path: bank for path, bank in found.items() if bank.list_name is None}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            bank = next((bank for path, bank in stacked.items() if name.startswith(f"{path}.")), None)
            # each expert of a stacked parameter is drawn for itself
            slices = [(None, parameter)] if bank is None else list(enumerate(parameter[: bank.count]))
            for expert, part in slices:
                part.copy_(draw(plan.train.seed, name, tuple(part.shape), dtype, recipes[name], expert))
    return model


def train_reference(
    plan: Plan,
    recipes: Mapping[str, Recipe],
    dataset: Dataset,
    count: int,
    model: nn.Module | None = None,
) -> Iterator[ReferenceStep]:
    """Trains `count` steps on the whole batch: `model`, else one with the initial values of every layout."""
    model = build_model(plan, recipes) if model is None else model
    batches, given, schedule = build_batches(plan.train, dataset), plan.train.optimizer, build_schedule(plan)
    adamw = torch.optim.AdamW(
        model.parameters(), betas=(given.beta1, given.beta2), eps=given.eps, weight_decay=given.weight_decay
    )
    floor = 0.0
    for step in range(count):
        loss, balance = _compute_gradients(plan, model, *batches.load(step))
        gradients = {name: _gradient(parameter).clone() for name, parameter in model.named_parameters()}
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), given.clip or float("inf")).item()
        rate = schedule.learning_rate(step)
        for group in adamw.param_groups:
            group["lr"] = rate
        # AdamW moves an entry by rate * g / (|g| + eps): an error d of g moves it by up to rate * d / eps
        largest = max(map(largest_entry, gradients.values()))
        floor += rate * (ROUNDED / TOLERANCE) * largest / given.eps
        adamw.step()
        adamw.zero_grad()
        parameters = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        values = (loss, balance, norm, rate)
        figures = dict(zip(FIGURES.values(), values, strict=True))
        yield ReferenceStep(figures, gradients, parameters, FLOOR * largest, floor)


def build_schedule(plan: Plan) -> AdamWSettings:
    """The settings that the learning rate of each step follows from."""
    given = plan.train.optimizer
    return AdamWSettings(
        lr=given.lr, warmup=given.warmup, decay=given.decay, min_lr=given.min_lr, steps=plan.train.steps
    )


def _gradient(parameter: nn.Parameter) -> Tensor:
    if parameter.grad is None:  # an expert that no token has reached
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def run_microbatches(
    plan: Plan, model: nn.Module, tokens: Tensor, labels: Tensor
) -> Iterator[tuple[Any, Tensor]]:
    """What the model returns for each microbatch, and the labels of that microbatch.

    `tokens` and `labels`: (microbatches, sequences, length).
    """
    facts = plan.train.model
    token_name, label_name = names_of_inputs(model, facts.tokens, facts.labels)
    for one, its in zip(tokens, labels, strict=True):
        with promote_casts(DTYPES[plan.train.precision.compute]):
            out = model(**{token_name: one}, **({label_name: its} if label_name else {}))
        yield out, its


def _compute_gradients(plan: Plan, model: nn.Module, tokens: Tensor, labels: Tensor) -> tuple[float, float]:
    """Backward passes of all microbatches; the loss of the step, and the mean balance loss."""
    options, microbatches = plan.train.loss, len(tokens)
    valid = int((labels != options.ignore_index).sum())
    losses, balances = 0.0, 0.0
    for out, its in run_microbatches(plan, model, tokens, labels):
        first, *rest = out if isinstance(out, (tuple, list)) else (out,)
        if first.ndim == 0:
            loss = first / microbatches
        else:
            flat = first.flatten(0, 1), its.flatten()
            loss = F.cross_entropy(*flat, reduction="sum", ignore_index=options.ignore_index) / valid
        losses += loss.item()
        if rest:
            balances += rest[0].item() / microbatches
            loss = loss + options.balance * rest[0] / microbatches
        loss.backward()
    return losses, balances
