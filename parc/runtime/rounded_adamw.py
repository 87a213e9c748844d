"""AdamW that keeps its moments in another type than the parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

CHUNK = 1 << 24  # elements whose moments are converted at a time: 64 MiB of float32


class Piece(NamedTuple):
    """At most `CHUNK` elements of a parameter: flat views of what an update of them reads and writes."""

    values: Tensor
    gradient: Tensor
    mean: Tensor
    square: Tensor  # the mean of the squared gradient
    step: Tensor  # a scalar: how many updates there are with this one


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
            states = {each: self._get_state(each) for each in group["params"] if each.grad is not None}
            if states:
                torch._foreach_add_([state["step"] for state in states.values()], 1)
            for pieces in _fill_chunks(piece for pair in states.items() for piece in _cut(*pair)):
                self._update(pieces, group)

    def _update(self, pieces: list[Piece], settings: dict[str, Any]) -> None:
        values, gradients, means, squares, steps = map(list, zip(*pieces, strict=True))
        kept = (values, means, squares)
        updated = [[each.to(self.wide) for each in tensors] for tensors in kept]
        wide_values, wide_means, wide_squares = updated
        torch._fused_adamw_(
            wide_values,
            gradients,
            wide_means,
            wide_squares,
            [],
            steps,
            lr=settings["lr"],
            beta1=settings["betas"][0],
            beta2=settings["betas"][1],
            weight_decay=settings["weight_decay"],
            eps=settings["eps"],
            amsgrad=False,
            maximize=False,
        )
        for tensors, results in zip(kept, updated, strict=True):
            if tensors[0].dtype != self.wide:
                torch._foreach_copy_(tensors, results)

    def _get_state(self, parameter: Tensor) -> dict[str, Tensor]:
        """The count of steps and the moments of a parameter; zeros before its first update."""
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter, dtype=self.moments)
            state["exp_avg_sq"] = torch.zeros_like(parameter, dtype=self.moments)
        return state


def _cut(parameter: Tensor, state: dict[str, Tensor]) -> Iterator[Piece]:
    """A parameter that has a gradient, in pieces."""
    assert parameter.grad is not None
    values, gradients = parameter.view(-1), parameter.grad.reshape(-1)
    means, squares = state["exp_avg"].view(-1), state["exp_avg_sq"].view(-1)
    for start in range(0, len(values), CHUNK):
        part = slice(start, start + CHUNK)
        yield Piece(values[part], gradients[part], means[part], squares[part], state["step"])


def _fill_chunks(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Pieces in turn, of at most `CHUNK` elements together."""
    chunk: list[Piece] = []
    size = 0
    for piece in pieces:
        if chunk and size + piece.values.numel() > CHUNK:
            yield chunk
            chunk, size = [], 0
        chunk.append(piece)
        size += piece.values.numel()
    if chunk:
        yield chunk
