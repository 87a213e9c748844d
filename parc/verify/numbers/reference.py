"""The user's model, trained on one device by the plainest loop there is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parc.capture.calls import layers_of
from parc.capture.capture import DTYPES
from parc.capture.expert_bank import Bank, banks
from parc.capture.initializers import Recipe
from parc.capture.objective import names_of_inputs
from parc.capture.promotion import promoted
from parc.capture.user_model import factory
from parc.plan.blocks import Plan
from parc.runtime.data import Dataset
from parc.runtime.init import draw
from parc.runtime.optim import AdamWSettings
from parc.verify.numbers.tolerance import TOLERANCE
from parc.verify.sample.tokens import batches


@dataclass(frozen=True)
class Step:
    """One optimizer step: what was computed, by the user's names."""

    loss: float
    balance: float
    norm: float  # of the gradient, before clipping
    gradients: Mapping[str, Tensor]
    parameters: Mapping[str, Tensor]  # after the update
    floor: float  # size up to which a parameter may be what rounding has made of it
    rate: float  # what it learned at

    @property
    def figures(self) -> Mapping[str, float]:
        """What a program reports of a step, by the same names."""
        return {
            "loss": self.loss,
            "balance loss": self.balance,
            "gradient norm": self.norm,
            "learning rate": self.rate,
        }


ROUNDED = 1e-16  # of the largest gradient: what rounding leaves of a gradient that is zero, a key's bias say


def model_of(plan: Plan, recipes: Mapping[str, Recipe]) -> nn.Module:
    """The model on the CPU, with the initial values that every layout starts from."""
    facts = plan.train.model
    make = factory(facts)
    dtype = DTYPES[plan.train.precision.compute]
    arguments = {k: list(v) if isinstance(v, tuple) else v for k, v in facts.arguments.items()}
    model: nn.Module = make(**arguments).to(dtype)
    found = banks(model, layers_of(model, facts.shape.layers), facts.experts)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            stacked = _stacked(name, found)
            if stacked is None:
                parameter.copy_(draw(plan.train.seed, name, tuple(parameter.shape), dtype, recipes[name]))
                continue
            for expert in range(stacked.count):
                of = tuple(parameter.shape[1:])
                parameter[expert] = draw(plan.train.seed, name, of, dtype, recipes[name], expert)
    return model


def _stacked(name: str, found: Mapping[str, Bank]) -> Bank | None:
    """The bank whose stacked parameter this is."""
    return next((b for path, b in found.items() if name.startswith(path + ".") and b.list_name is None), None)


def steps(
    plan: Plan,
    recipes: Mapping[str, Recipe],
    dataset: Dataset,
    count: int,
    model: nn.Module | None = None,
) -> Iterator[Step]:
    """Train `count` steps on the whole batch: `model`, else one with the initial values of every layout."""
    train = plan.train
    model = model_of(plan, recipes) if model is None else model
    seen, given, settings = batches(train, dataset), train.optimizer, schedule(plan)
    adamw = torch.optim.AdamW(
        model.parameters(), betas=(given.beta1, given.beta2), eps=given.eps, weight_decay=given.weight_decay
    )
    floor = 0.0
    for step in range(count):
        tokens, labels = seen.step(step)
        loss, balance = _backward(plan, model, tokens, labels)
        for parameter in model.parameters():
            if parameter.grad is None:  # an expert that no token has reached
                parameter.grad = torch.zeros_like(parameter)
        gradients = {name: _grad(p).clone() for name, p in model.named_parameters()}
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), given.clip or float("inf"))
        rate = settings.learning_rate(step)
        for group in adamw.param_groups:
            group["lr"] = rate
        # AdamW moves an entry by rate * g / (|g| + eps): an error d of g moves it by up to rate * d / eps
        largest = max(float(gradient.abs().max()) for gradient in gradients.values())
        floor += rate * (ROUNDED / TOLERANCE) * largest / given.eps
        adamw.step()
        adamw.zero_grad()
        after = {name: p.detach().clone() for name, p in model.named_parameters()}
        yield Step(loss, balance, norm.item(), gradients, after, floor, rate)


def schedule(plan: Plan) -> AdamWSettings:
    """What the learning rate of each step follows from."""
    given = plan.train.optimizer
    return AdamWSettings(
        lr=given.lr, warmup=given.warmup, decay=given.decay, min_lr=given.min_lr, steps=plan.train.steps
    )


def _grad(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _backward(plan: Plan, model: nn.Module, tokens: Tensor, labels: Tensor) -> tuple[float, float]:
    """Gradients of the step's loss, microbatch by microbatch; the loss and the mean balance loss."""
    facts, wanted = plan.train.model, plan.train.loss
    microbatches = len(tokens)
    valid = int((labels != wanted.ignore_index).sum())
    losses, balances = 0.0, 0.0
    takes_tokens, takes_labels = names_of_inputs(model, facts.tokens, facts.labels)
    for one, its in zip(tokens, labels, strict=True):
        inputs = {takes_tokens: one}
        if takes_labels:
            inputs[takes_labels] = its
        with promoted(DTYPES[plan.train.precision.compute]):
            out = model(**inputs)
        first, *rest = out if isinstance(out, (tuple, list)) else (out,)
        if first.ndim == 0:
            loss = first / microbatches
        else:
            flat = first.flatten(0, 1), its.flatten()
            loss = F.cross_entropy(*flat, reduction="sum", ignore_index=wanted.ignore_index) / valid
        total = loss
        if rest:
            balances += rest[0].item() / microbatches
            total = loss + wanted.balance * rest[0] / microbatches
        total.backward()
        losses += loss.item()
    return losses, balances
