"""AdamW that keeps its moments in another type than the parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

CHUNK = 1 << 24  # elements whose moments are converted at a time: 64 MiB of float32


class RoundedAdamW(torch.optim.AdamW):
    """torch's fused AdamW, with moments of the type `moments` between two steps.

    A step is computed in the wider type of parameters and moments, in which it takes the gradients: it
    updates moments and parameters there, with moments as they are before they are rounded. The parameters
    and the moments are then rounded, each to its type.
    """

    def __init__(self, parameters: Sequence[Tensor], *, moments: torch.dtype, **settings: Any) -> None:
        super().__init__(parameters, **settings)
        self.moments = moments
        self.wide = torch.promote_types(parameters[0].dtype, moments)
        for parameter in parameters:
            parameter.grad_dtype = self.wide

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Updates the parameters that have a gradient."""
        for group in self.param_groups:
            for parameters in _take_chunks(each for each in group["params"] if each.grad is not None):
                self._update(parameters, group)

    def _update(self, parameters: list[Tensor], settings: dict[str, Any]) -> None:
        states = [self._get_state(each) for each in parameters]
        kept = [parameters, *([state[key] for state in states] for key in ("exp_avg", "exp_avg_sq"))]
        values, means, squares = ([each.to(self.wide) for each in tensors] for tensors in kept)
        adamw(
            values,
            [each.grad for each in parameters if each.grad is not None],
            means,
            squares,
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=settings["betas"][0],
            beta2=settings["betas"][1],
            lr=settings["lr"],
            weight_decay=settings["weight_decay"],
            eps=settings["eps"],
            maximize=False,
        )
        for tensors, updated in zip(kept, (values, means, squares), strict=True):
            if tensors[0].dtype != self.wide:
                torch._foreach_copy_(tensors, updated)

    def _get_state(self, parameter: Tensor) -> dict[str, Tensor]:
        """The count of steps and the moments of a parameter; zeros before its first update."""
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter, dtype=self.moments)
            state["exp_avg_sq"] = torch.zeros_like(parameter, dtype=self.moments)
        return state


def _take_chunks(parameters: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """The parameters in turn, of about `CHUNK` elements together."""
    chunk: list[Tensor] = []
    for parameter in parameters:
        if chunk and sum(each.numel() for each in chunk) + parameter.numel() > CHUNK:
            yield chunk
            chunk = []
        chunk.append(parameter)
    if chunk:
        yield chunk
