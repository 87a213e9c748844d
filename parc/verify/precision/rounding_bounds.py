"""How far rounding alone may carry a step in float32 or bfloat16 from the same step in float64.

No bound that holds for every model is of use: the network amplifies errors, and the worst case is far from
what happens. So the amplification is measured without a layout: on one device, from the same initial values
(which the low precision has rounded), with the routing of the float64 run replayed.

- `e`, for each tensor: the largest error of an entry over three runs of the model on one device. One computes
  in the low precision. Two compute in float64 with every parameter changed by one unit roundoff `u`, up or
  down at random: otherwise a tensor of few entries that the low precision happens to get right would have
  too small an error. A layout rounds the same sums at other places, so its errors have the size of `e`.
- `u (1 + ranks) max|b|`: a collective adds at most one term a rank, each addition rounds once, and the sum is
  rounded once more when it is stored. For gradients and their norm `u` is that of the coarsest type in which
  they are computed, added up or sent.

Where gradients are sent in a coarser type than they have, a rank rounds its term of a sum, which may be
larger than the sum. On one device nothing is sent. So the run in low precision rounds the gradient of each
microbatch to that type: a term of the same sum, and of the size of a rank's.

The bound of a tensor b is `FACTOR e + u (1 + ranks) max|b|`. `FACTOR` allows for the largest of many draws of
one size. 117 random layouts of the two example models, each with other initial values, used at most 0.42 of
the bounds of their gradients in float32, and 0.2 in bfloat16.

A parameter after AdamW's first step is p (1 - lr wd) - lr s(c g), with s(x) = x / (|x| + eps) and the factor
c of clipping. s is monotonic, so an error d of c g moves the parameter by at most s(c g + d) - s(c g) or
s(c g) - s(c g - d): nothing where |c g| is well above d, up to 2 where rounding decides the sign of c g.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from parc.capture.capture import DTYPES
from parc.runtime.placement import PlacedParameter
from parc.verify.execution.trainer import select_share
from parc.verify.numbers.reference import Reference, ReferenceStep, build_schedule
from parc.verify.numbers.tolerance import find_largest_entry
from parc.verify.precision.replay_routing import ChoiceKey, Selection, replay_routing
from parc.verify.sample.sample import set_precision

FACTOR = 8
SAMPLES = 2  # of models with changed parameters
PARAMETER_ROUNDINGS = 3  # of a parameter in a step: the factor of its decay, decayed, updated
UPDATE_ROUNDINGS = 16  # of what is subtracted from it: moments, their corrections, root, quotient, rate


@dataclass(frozen=True)
class BoundedStep(ReferenceStep):
    """A step in float64, the choices in it, and how far the same step in low precision may be from it."""

    choices: Mapping[ChoiceKey, Tensor]
    figure_bounds: Mapping[str, float]
    gradient_bounds: Mapping[str, Tensor]  # of each entry
    parameter_bounds: Mapping[str, Tensor]  # of each entry

    def bound_figure(self, name: str) -> float:
        return self.figure_bounds[name]

    def bound_parameter(self, parameter: PlacedParameter, share: Tensor, *, gradient: bool) -> Tensor:
        return select_share(parameter, self.gradient_bounds if gradient else self.parameter_bounds)


class ReferenceRuns:
    """Runs of the model on one device. Modules at `paths` choose."""

    def __init__(self, reference: Reference, paths: Collection[str]) -> None:
        self.plan = reference.plan
        self.low, self.high = reference, replace(reference, plan=set_precision(self.plan, "fp64"))
        types = self.plan.train.precision
        self.unit, self.master_unit = (
            torch.finfo(DTYPES[each]).eps / 2 for each in (types.compute, types.master)
        )
        summed = (types.compute, types.gradients, types.reduce)
        self.gradient_unit = max(torch.finfo(DTYPES[each]).eps / 2 for each in summed)
        self.paths, self.choices = paths, dict[ChoiceKey, Tensor]()

    def measure_bounds(self) -> BoundedStep:
        """The bounds of the first step of a plan in low precision."""
        step = self._run(self.high, self._build_in_float64())
        others = [self._run(self.low, self._build_in_low_precision())]
        others += [self._run(self.high, self._disturb(seed)) for seed in range(SAMPLES)]
        terms = 1 + self.plan.mesh.size
        units = dict.fromkeys(step.figures, self.unit) | {"gradient norm": self.gradient_unit}
        figures = {
            name: FACTOR * max(abs(each.figures[name] - value) for each in others)
            + terms * units[name] * abs(value)
            for name, value in step.figures.items()
        }
        gradients = {
            name: FACTOR * max(find_largest_entry(each.gradients[name] - value) for each in others)
            + terms * self.gradient_unit * find_largest_entry(value)
            for name, value in step.gradients.items()
        }
        of_norm = figures["gradient norm"]
        parameters = {
            name: self._bound_update(step, name, gradients[name], of_norm) for name in step.parameters
        }
        of_entries = {
            name: torch.tensor(bound, dtype=torch.float64).expand_as(step.gradients[name])
            for name, bound in gradients.items()
        }
        return BoundedStep(
            **vars(step),
            choices=self.choices,
            figure_bounds=figures,
            gradient_bounds=of_entries,
            parameter_bounds=parameters,
        )

    def _run(self, reference: Reference, model: nn.Module) -> ReferenceStep:
        kept = DTYPES[reference.plan.train.precision.master]
        masters = {name: each.to(kept) for name, each in self.low.draw_masters(model).items()}
        replay_routing([model], self.paths, self._choose)
        return next(reference.train(1, model, masters))

    def _choose(self, key: ChoiceKey, own: Selection) -> Tensor:
        """The choice of the first run, which all later runs repeat."""
        return self.choices.setdefault(key, own.indices)

    def _build_in_low_precision(self) -> nn.Module:
        """The model, with the gradient of each microbatch rounded to the type in which gradients are sent."""
        model, sent = self.low.build_model(), DTYPES[self.plan.train.precision.reduce]
        for name, parameter in model.named_parameters():
            hook = partial(_round, dtype=self.low.widen(sent, name))
            parameter.register_hook(hook)  # type: ignore[no-untyped-call]
        return model

    def _build_in_float64(self) -> nn.Module:
        """The model with the initial values of the low precision: rounding those is no error of a run."""
        model, rounded = (each.build_model() for each in (self.high, self.low))
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), rounded.parameters(), strict=True):
                parameter.copy_(value)
        return model

    def _disturb(self, seed: int) -> nn.Module:
        """The same model with every parameter changed by one unit roundoff."""
        generator = torch.Generator().manual_seed(seed)
        model = self._build_in_float64()
        with torch.no_grad():
            for parameter in model.parameters():
                sign = torch.randint(0, 2, parameter.shape, generator=generator) * 2 - 1
                parameter.mul_(1 + self.unit * sign)
        return model

    def _bound_update(self, step: ReferenceStep, name: str, of_gradient: float, of_norm: float) -> Tensor:
        """The bound of a parameter, from those of its gradient and of the gradient norm."""
        optimizer, norm = self.plan.train.optimizer, step.figures["gradient norm"]
        clip = min(1.0, optimizer.clip / (norm + 1e-6)) if optimizer.clip else 1.0
        gradient = clip * step.gradients[name]
        error = clip * of_gradient + gradient.abs() * (of_norm / norm if optimizer.clip else 0.0)

        def normalize(x: Tensor) -> Tensor:
            return x / (x.abs() + optimizer.eps)

        here = normalize(gradient)
        jump = torch.maximum(normalize(gradient + error) - here, here - normalize(gradient - error))
        rate = build_schedule(self.plan).learning_rate(0)
        size = step.parameters[name].abs() + 2 * rate  # of the parameter before, after, and in between
        return rate * jump + self.master_unit * (PARAMETER_ROUNDINGS * size + UPDATE_ROUNDINGS * rate)


def _round(gradient: Tensor, dtype: torch.dtype) -> Tensor:
    return gradient.to(dtype).to(gradient.dtype)
