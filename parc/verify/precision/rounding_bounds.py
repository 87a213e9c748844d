"""How far rounding alone may carry a step in float32 or bfloat16 from the same step in float64.

No bound that holds for every model is of use: errors are amplified by the network, and the worst case of that
is far from what happens. So the amplification is measured where nothing is laid out: on one device, from the
same initial values (which the low precision has rounded), with the routing of the float64 run replayed.

- `e`, for each tensor: the largest error of an entry over three runs of the model on one device. One computes
  in the low precision. Two compute in float64, with every parameter off by one unit roundoff `u`, up or down
  at random: what the low precision gets right by luck, in a tensor of a few entries, is not taken for its
  error. A layout rounds the same sums at other places, so its errors are of the size of `e`, not smaller.
- `u (1 + ranks) max|b|`: a collective adds at most one term a rank, each addition rounds once, and what it
  adds up to is rounded once more when it is stored.

A tensor b is allowed `FACTOR e + u (1 + ranks) max|b|`. `FACTOR` allows for the largest of many draws of one
size. 117 random layouts of the two example models, each with other initial values, used at most 0.42 of what
their gradients are allowed in float32, and 0.2 in bfloat16.

A parameter after AdamW's first step is p (1 - lr wd) - lr s(c g), with s(x) = x / (|x| + eps) and the factor
c of clipping. s rises everywhere, so that an error d of c g moves it by at most s(c g + d) - s(c g) or
s(c g) - s(c g - d): nothing where |c g| is well above d, up to 2 where it is not: rounding decides its sign.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from parc.capture.capture import DTYPES
from parc.capture.initializers import Recipe
from parc.plan.blocks import Plan
from parc.runtime.data import Dataset
from parc.verify.numbers.reference import Step, model_of, schedule, steps
from parc.verify.precision.replay_routing import Choice, Choosing, Chosen

FACTOR = 8
SAMPLES = 2
OF_A_PARAMETER = 3  # roundings of a parameter in a step: the factor of its decay, decayed, updated
OF_AN_UPDATE = 16  # and of what is subtracted from it: moments, their corrections, root, quotient, rate


@dataclass(frozen=True)
class Allowed:
    """A step in float64, what was chosen in it, and by how much one in low precision may miss it."""

    step: Step
    choices: Mapping[Choice, Tensor]
    figures: Mapping[str, float]  # of what a step reports
    gradients: Mapping[str, float]  # of every entry of a gradient, by the parameter's name
    parameters: Mapping[str, Tensor]  # of each entry


def allowed(plan: Plan, recipes: Mapping[str, Recipe], dataset: Dataset, paths: set[str]) -> Allowed:
    """For the first step of `plan`, whose precision is the low one; modules at `paths` choose."""
    return _Runs(plan, recipes, dataset, paths).allowed()


class _Runs:
    def __init__(self, plan: Plan, recipes: Mapping[str, Recipe], dataset: Dataset, paths: set[str]) -> None:
        precision = replace(plan.train.precision, compute="fp64", master="fp64")
        self.low, self.high = plan, replace(plan, train=replace(plan.train, precision=precision))
        self.recipes, self.dataset, self.paths = recipes, dataset, paths
        self.unit = torch.finfo(DTYPES[plan.train.precision.compute]).eps / 2
        self.choices: dict[Choice, Tensor] = {}

    def allowed(self) -> Allowed:
        first = self._run(self.high, self._in_float64())
        others = [self._run(self.low, model_of(self.low, self.recipes))]
        others += [self._run(self.high, self._disturbed(seed)) for seed in range(SAMPLES)]
        terms = self.unit * (1 + self.low.mesh.size)
        of_figures = {
            name: FACTOR * max(abs(each.figures[name] - wanted) for each in others) + terms * abs(wanted)
            for name, wanted in first.figures.items()
        }
        gradients = {
            name: FACTOR * max(_largest(each.gradients[name] - wanted) for each in others)
            + terms * _largest(wanted)
            for name, wanted in first.gradients.items()
        }
        parameters = {
            name: self._of_parameter(first, name, gradients[name], of_figures["gradient norm"])
            for name in first.parameters
        }
        return Allowed(first, self.choices, of_figures, gradients, parameters)

    def _run(self, plan: Plan, model: nn.Module) -> Step:
        with Choosing(model, self.paths, self._choose):
            return next(steps(plan, self.recipes, self.dataset, 1, model))

    def _choose(self, choice: Choice, own: Chosen) -> Tensor:
        """The first run chooses for all."""
        return self.choices.setdefault(choice, own.indices)

    def _in_float64(self) -> nn.Module:
        """The initial values of the low precision: what it has rounded is no error of it."""
        model, rounded = model_of(self.high, self.recipes), model_of(self.low, self.recipes)
        with torch.no_grad():
            for mine, its in zip(model.parameters(), rounded.parameters(), strict=True):
                mine.copy_(its)
        return model

    def _disturbed(self, seed: int) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        model = self._in_float64()
        with torch.no_grad():
            for parameter in model.parameters():
                sign = torch.randint(0, 2, parameter.shape, generator=generator) * 2 - 1
                parameter.mul_(1 + self.unit * sign)
        return model

    def _of_parameter(self, step: Step, name: str, of_gradient: float, of_norm: float) -> Tensor:
        optimizer = self.low.train.optimizer
        clip = min(1.0, optimizer.clip / (step.norm + 1e-6)) if optimizer.clip else 1.0
        gradient = clip * step.gradients[name]
        error = clip * of_gradient + gradient.abs() * (of_norm / step.norm if optimizer.clip else 0.0)

        def moved(by: Tensor) -> Tensor:
            return by / (by.abs() + optimizer.eps)

        here = moved(gradient)
        jump = torch.maximum(moved(gradient + error) - here, here - moved(gradient - error))
        rate = schedule(self.low).learning_rate(0)
        size = step.parameters[name].abs() + 2 * rate  # of the parameter before, after, and in between
        return rate * jump + self.unit * (OF_A_PARAMETER * size + OF_AN_UPDATE * rate)


def _largest(tensor: Tensor) -> float:
    return float(tensor.abs().max()) if tensor.numel() else 0.0
