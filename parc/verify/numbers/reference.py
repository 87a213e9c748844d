"""The reference: the user's model, trained on one device in the plainest loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from parc.capture.capture import DTYPES, Captured
from parc.capture.graph import get_user_name
from parc.capture.model.initial_values import STORED
from parc.capture.model.kept_modules import find_wide_tensors
from parc.capture.model.objective import find_inputs
from parc.capture.model.promotion import promote_casts
from parc.capture.model.seeding import seed_constructor
from parc.capture.model.user_model import cast_model, find_factory, list_arguments
from parc.plan.blocks import Plan
from parc.plan.placement import count_balance_groups
from parc.runtime.data.batches import Batches, BatchSettings
from parc.runtime.data.datasets import Dataset
from parc.runtime.init import draw
from parc.runtime.optim import AdamWSettings
from parc.runtime.placement import PlacedParameter
from parc.verify.execution.trainer import FIGURES
from parc.verify.numbers.capacity import limit_experts
from parc.verify.numbers.tolerance import FLOOR, TOLERANCE, find_largest_entry

ROUNDED = 1e-16  # of the largest gradient: what rounding leaves of a zero gradient, as that of a key's bias

MOVED = 2  # times the rate: how far an update goes if both moments are rounded the other way, over their unit


@dataclass(frozen=True)
class ReferenceStep:
    """One optimizer step. Tensors have the names of the user's model; `figures` those of a program's step."""

    figures: Mapping[str, float]
    gradients: Mapping[str, Tensor]  # before clipping
    parameters: Mapping[str, Tensor]  # after the update
    gradient_floor: float  # a gradient below that is zero but for rounding
    parameter_floor: float  # rounding alone may have made a parameter of that size

    def bound_figure(self, name: str) -> float:
        """The largest error of a figure that is allowed in float64."""
        return TOLERANCE * max(abs(self.figures[name]), FLOOR**2)

    def bound_parameter(self, parameter: PlacedParameter, share: Tensor, *, gradient: bool) -> Tensor:
        """The largest error of each entry of a rank's share of a parameter or gradient."""
        floor = self.gradient_floor if gradient else self.parameter_floor
        return torch.tensor(TOLERANCE * max(find_largest_entry(share), floor), dtype=torch.float64)


@dataclass(frozen=True)
class Reference:
    """The model of a plan on the CPU. Its initial values are those of every layout, drawn as a whole."""

    plan: Plan
    captured: Captured
    dataset: Dataset

    def construct_model(self) -> nn.Module:
        """The model with the values that its own constructor makes, in training mode."""
        model, kept = self._construct_model(), self.captured.kept_modules
        cast_model(model, self._dtype, find_wide_tensors(model, kept))
        for path in kept:
            module = model.get_submodule(path)
            module.register_forward_pre_hook(_cast_inputs, with_kwargs=True)
            module.register_forward_hook(partial(_cast_results, dtype=self._dtype))
        return model.train()

    def _construct_model(self) -> nn.Module:
        facts = self.plan.train.model
        with seed_constructor(self.plan.train.seed):
            model = find_factory(facts)(**list_arguments(facts))
        assert isinstance(model, nn.Module)
        approximate = self.plan.train.approximate
        if approximate and approximate.capacity is not None:
            groups = count_balance_groups(self.plan)
            limit_experts(model, self.captured.banks, approximate.capacity, groups)
        return model

    def build_model(self) -> nn.Module:
        """The model with its initial values, rounded to what it computes in."""
        model = self.construct_model()
        with torch.no_grad():
            for name, value in self.draw_masters(model).items():
                model.get_parameter(name).copy_(value)
        return model

    def draw_masters(self, model: nn.Module) -> dict[str, Tensor]:
        """The initial values of all parameters of the model, in the type that the optimizer updates."""
        dtype, seed = DTYPES[self.plan.train.precision.master], self.plan.train.seed
        banks = {f"{get_user_name(path)}.": self.captured.banks[path] for path in self.captured.experts}
        stacked = tuple(prefix for prefix, bank in banks.items() if bank.list_name is None)
        stored = STORED in self.captured.recipes.values()
        own = dict(self._construct_model().named_parameters()) if stored else {}
        masters = {}
        for name, parameter in model.named_parameters():
            if self.captured.recipes[name] == STORED:
                masters[name] = own[name].detach().to(dtype)
                continue
            # each expert of a stacked parameter is drawn for itself
            experts = range(len(parameter)) if name.startswith(stacked) else [None]
            shape = tuple(parameter.shape[1:] if name.startswith(stacked) else parameter.shape)
            recipe = self.captured.recipes[name]
            drawn = [draw(seed, name, shape, dtype, recipe, expert) for expert in experts]
            masters[name] = torch.stack(drawn) if name.startswith(stacked) else drawn[0]
        return masters

    def train(
        self, count: int, model: nn.Module | None = None, masters: Mapping[str, Tensor] | None = None
    ) -> Iterator[ReferenceStep]:
        """Trains `model`, else a new one, for `count` steps on the whole batch.

        `masters` are what is updated and rounded to the parameters of the model, from which they begin by
        default. An update is computed in the wider type of masters and moments. Its results are rounded to
        their types when it is complete.
        """
        model, types = model or self.build_model(), self.plan.train.precision
        named = dict(model.named_parameters())
        kept, summed, moments = (DTYPES[each] for each in (types.master, types.gradients, types.moments))
        wide = torch.promote_types(kept, moments)  # in which an update is computed
        begin = masters or {name: each.detach().to(kept) for name, each in named.items()}
        masters = {name: each.to(wide, copy=True) for name, each in begin.items()}
        for name, each in named.items():
            each.grad_dtype = self.widen(summed, name)
        given, schedule, batches = self.plan.train.optimizer, build_schedule(self.plan), self.batches
        betas = (given.beta1, given.beta2)
        adamw = torch.optim.AdamW(
            masters.values(), betas=betas, eps=given.eps, weight_decay=given.weight_decay
        )
        floor = 0.0
        for step in range(count):
            with promote_casts(self._dtype):
                loss, balance = self._compute_gradients(model, *batches.load(step))
            gradients = {name: _copy_gradient(each) for name, each in named.items()}
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), given.clip or float("inf")).item()
            rate = schedule.learning_rate(step)
            for group in adamw.param_groups:
                group["lr"] = rate
            # AdamW moves an entry by rate * g / (|g| + eps): an error d of g moves it by up to rate * d / eps
            largest = max(map(find_largest_entry, gradients.values()))
            floor += rate * (ROUNDED / TOLERANCE) * largest / given.eps
            if moments != wide:  # an error of any size may round a moment the other way
                floor += rate * MOVED * torch.finfo(moments).eps / TOLERANCE
            for name, master in masters.items():
                none = named[name].grad is None and given.idle_experts == "skip"
                master.grad = None if none else _copy_gradient(named[name]).to(master.dtype)
            adamw.step()
            model.zero_grad()
            for state in adamw.state.values():
                for moment in (state["exp_avg"], state["exp_avg_sq"]):
                    moment.copy_(moment.to(moments))
            with torch.no_grad():
                for name, master in masters.items():
                    named[name].copy_(master.copy_(master.to(kept)))
            parameters = {name: master.to(kept, copy=True) for name, master in masters.items()}
            figures = dict(zip(FIGURES.values(), (loss, balance, norm, rate), strict=True))
            yield ReferenceStep(figures, gradients, parameters, FLOOR * largest, floor)

    def widen(self, dtype: torch.dtype, name: str) -> torch.dtype:
        """A type of what belongs to the parameter `name`, where others have `dtype`."""
        return torch.promote_types(dtype, torch.float32) if name in self.captured.kept else dtype

    @property
    def batches(self) -> Batches:
        """The batch of each step."""
        train, batch = self.plan.train, self.plan.train.batch
        settings = BatchSettings(
            sequences=batch.sequences,
            length=batch.length,
            microbatches=batch.microbatches,
            seed=train.seed,
            shift=train.loss.shift,
        )
        return Batches(self.dataset, settings)

    def run_microbatches(
        self, model: nn.Module, tokens: Tensor, labels: Tensor
    ) -> Iterator[tuple[Any, Tensor]]:
        """What the model returns for each microbatch, and its labels.

        `tokens` and `labels`: (microbatches, sequences, length). Groups of sequences that have a balance loss
        each are run one by one.
        """
        facts, groups = self.plan.train.model, count_balance_groups(self.plan)
        tokens, labels = (each.view(len(each) * groups, -1, each.shape[-1]) for each in (tokens, labels))
        token_name, label_name = find_inputs(model, facts.tokens, facts.labels)
        for ids, its in zip(tokens, labels, strict=True):
            with promote_casts(self._dtype):
                out = model(**{token_name: ids}, **({label_name: its} if label_name else {}))
            yield out, its

    def _compute_gradients(self, model: nn.Module, tokens: Tensor, labels: Tensor) -> tuple[float, float]:
        """Backward passes of all microbatches; the loss of the step, and the mean balance loss."""
        options, microbatches = self.plan.train.loss, len(tokens) * count_balance_groups(self.plan)
        valid = int((labels != options.ignore_index).sum())
        losses, balances = 0.0, 0.0
        for out, its in self.run_microbatches(model, tokens, labels):
            first, *rest = out if isinstance(out, (tuple, list)) else (out,)
            if first.ndim == 0:
                loss = first / microbatches
            else:
                flat = first.flatten(0, 1).float(), its.flatten()
                loss = F.cross_entropy(*flat, reduction="sum", ignore_index=options.ignore_index) / valid
            losses += loss.item()
            if rest:
                balances += rest[0].item() / microbatches
                loss = loss + options.balance * rest[0] / microbatches
            loss.backward()
        return losses, balances

    @property
    def _dtype(self) -> torch.dtype:
        return DTYPES[self.plan.train.precision.compute]


def build_schedule(plan: Plan) -> AdamWSettings:
    """The settings that the learning rate of each step follows from."""
    given = plan.train.optimizer
    return AdamWSettings(
        lr=given.lr, warmup=given.warmup, decay=given.decay, min_lr=given.min_lr, steps=plan.train.steps
    )


def _copy_gradient(parameter: nn.Parameter) -> Tensor:
    """Zeros for an expert of a list that no token has reached: it has no gradient."""
    if parameter.grad is None:
        return torch.zeros_like(parameter, dtype=parameter.grad_dtype, requires_grad=False)
    return parameter.grad.clone()


def _cast_inputs(
    _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The inputs of a module that computes in fp32, or in float64 where all do."""
    cast = partial(_cast, dtype=None)
    return tuple(tree_map(cast, each) for each in args), {
        key: tree_map(cast, each) for key, each in kwargs.items()
    }


def _cast_results(_module: nn.Module, _args: tuple[Any, ...], results: Any, dtype: torch.dtype) -> Any:
    return tree_map(partial(_cast, dtype=dtype), results)


def _cast(value: Any, dtype: torch.dtype | None) -> Any:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return value
    return value.to(dtype or torch.promote_types(value.dtype, torch.float32))
