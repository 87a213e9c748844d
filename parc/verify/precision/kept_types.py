"""The types of masters, gradients and moments, and what a program computes with after an update."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any

import torch

from parc.capture.capture import DTYPES
from parc.plan.blocks import Plan, choose_type
from parc.verify.execution.trainer import join_slices


def describe_kept_types(plan: Plan) -> str:
    """The types that are right, in words."""
    types = plan.train.precision
    return (
        f"masters in {types.master}, moments in {types.moments}, gradients added up in {types.gradients} "
        f"and sent in {types.reduce}; "
        f"after the update the model has the masters rounded to {types.compute}"
        + (f"; {', '.join(types.keep_fp32)} in fp32" if types.keep_fp32 else "")
    )


def find_wrong_types(trainer: Any, plan: Plan, kept: Set[str]) -> Iterator[str]:
    """What is wrong with one rank's types, after a step. `kept` are the parameters that stay in fp32."""
    types = plan.train.precision
    stated = types.compute, types.master, types.gradients
    for parameter in trainer.parameters:
        is_kept = not kept.isdisjoint(parameter.user_names)
        compute, master, summed = (DTYPES[choose_type(each, is_kept)] for each in stated)
        moment = DTYPES[types.moments]
        found = [
            ("the model's tensor", parameter.tensor.dtype, compute),
            ("the master", parameter.master.dtype, master),
            ("the gradient", parameter.ensure_gradient().dtype, summed),
        ]
        for each in trainer.optimizer.masters[parameter.name]:
            if state := trainer.optimizer.adamw.state[each]:  # an expert that was idle so far has none
                found.append(("the mean of the gradient", state["exp_avg"].dtype, moment))
                found.append(("the mean of the squared gradient", state["exp_avg_sq"].dtype, moment))
        for what, actual, right in dict.fromkeys(found):
            if actual != right:
                yield f"{what} of `{parameter.name}` is {_name(actual)}, and {_name(right)} by the plan"
        if parameter.gathered:  # it is rounded for each pass
            continue
        rounded = parameter.master.to(parameter.tensor.dtype)
        if not torch.equal(parameter.tensor.detach(), join_slices(parameter, rounded, trainer.topology.mesh)):
            yield f"`{parameter.name}` is not its master, rounded, after the update"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
