"""The loss as a part of the captured model, so that its sums over tokens are derived like everything else."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

TOKENS = ("tokens", "input_ids", "idx", "x", "inputs")
LABELS = ("labels", "targets", "target", "y")


def find_parameter(model: nn.Module, names: Sequence[str], first: bool = False) -> str | None:
    """The parameter of `forward` that has one of `names`; with `first`, its first one where none has."""
    parameters = list(inspect.signature(model.forward).parameters)
    found = [name for name in names if name in parameters] or (parameters if first else [])
    return found[0] if found else None


def find_inputs(model: nn.Module, tokens: str | None, labels: str | None) -> tuple[str, str | None]:
    """The parameters of `forward` for tokens and, if it takes them, labels: as stated or by name."""
    tokens = tokens or find_parameter(model, TOKENS, first=True) or TOKENS[0]
    return tokens, labels or find_parameter(model, LABELS)


class Objective(nn.Module):
    """(tokens, labels) of a microbatch, each (B, S) -> (loss,) or (loss, balance loss), scalars.

    A model that returns logits gets the *sum* of its tokens' losses (`mean` is False): the mean is over the
    whole step, which the model does not see. A loss that the model returns itself stands as it is (`mean` is
    True).
    """

    def __init__(self, model: nn.Module, tokens: str | None, labels: str | None, ignore_index: int) -> None:
        super().__init__()
        self.model = model
        self.ignore_index = ignore_index
        self.tokens, self.labels = find_inputs(model, tokens, labels)
        self.mean = False
        self.balanced = False
        self.vocabulary: int | None = None  # of the logits

    def forward(self, tokens: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        """Also notes what the model returns, in `mean`, `balanced` and `vocabulary`."""
        inputs = {self.tokens: tokens}
        if self.labels is not None:
            inputs[self.labels] = labels
        out = self.model(**inputs)
        wrong = describe_wrong_results(out)
        if wrong:
            raise ValueError(wrong)
        first, *rest = out if isinstance(out, (tuple, list)) else (out,)
        self.mean = first.ndim == 0
        self.balanced = bool(rest)
        self.vocabulary = None if self.mean else first.shape[-1]
        loss = first if self.mean else self._sum_losses(first, labels)
        return (loss, *rest)

    def _sum_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """In float32 at least: bfloat16 has too few digits for a sum of thousands of losses."""
        flat = logits.flatten(0, -2).float()  # a run in float64 promotes the cast
        return F.cross_entropy(flat, labels.flatten(), reduction="sum", ignore_index=self.ignore_index)


def describe_wrong_results(out: Any) -> str | None:
    """What is wrong with the values that a model's `forward` returned; None where nothing is."""
    values = out if isinstance(out, (tuple, list)) else (out,)
    if not 1 <= len(values) <= 2 or not all(isinstance(value, Tensor) for value in values):
        return "forward must return logits, logits and a balance loss, or the loss"
    if values[0].ndim not in (0, 3) or (len(values) == 2 and values[1].ndim != 0):
        shapes = " and ".join(str(tuple(value.shape)) for value in values)
        wanted = "neither logits (B, S, vocabulary), nor a loss, nor logits and a balance loss"
        return f"forward returned {shapes}: {wanted}"
    return None
