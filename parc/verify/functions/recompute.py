"""A second forward pass: what it gets again, and what it must not count again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from parc.plan.blocks import Plan
from parc.runtime.experts import TOKEN_COUNTS
from parc.verify.execution.trainer import is_in_backward_pass

SCORES = ((1.0, 3.0, 2.0), (6.0, 5.0, 4.0))


def check_recomputation(trainer: Any, plan: Plan) -> Iterator[str]:
    """Choices and kept functions of a second pass, and counts of tokens, where a plan recomputes."""
    if plan.recompute != "none":
        yield from _check_kept(import_module("runtime.recompute"))
        yield from _check_counts(trainer)


class _Fickle(nn.Module):
    """Chooses the largest scores, and in every further call the smallest, as if rounding had swapped them."""

    def __init__(self, keep_result: Callable[[Callable[[], Tensor]], Callable[[], Tensor]]) -> None:
        super().__init__()
        self.calls = self.kept_calls = 0
        self.count = keep_result(self._count)

    def _count(self) -> Tensor:
        self.kept_calls += 1
        return torch.tensor(float(self.kept_calls), dtype=torch.float64)

    def forward(self, scores: Tensor) -> Tensor:
        self.calls += 1
        chosen = (scores if self.calls <= len(SCORES) else -scores).topk(1)
        return (scores.gather(-1, chosen.indices) * self.count()).exp()


def _check_kept(runtime: Any) -> Iterator[str]:
    """Two calls, whose backward passes come in the other order. The gradient of exp(k x) is k exp(k x)."""
    module = _Fickle(runtime.keep_result)
    given = [torch.tensor(row, dtype=torch.float64, requires_grad=True) for row in SCORES]
    results = [runtime.recompute(module, scores).sum() for scores in given]
    for result in reversed(results):
        result.backward()
    if module.kept_calls != len(SCORES):
        yield f"what is to be kept is computed {module.kept_calls} times in {len(SCORES)} calls"
    for number, (scores, result) in enumerate(zip(given, results, strict=True), 1):
        expected = torch.zeros_like(scores).index_fill(0, scores.argmax(), number * float(result.detach()))
        if scores.grad is None or not torch.allclose(scores.grad, expected):
            yield f"a second pass goes where call {number} did not: its choices or other results are not kept"


def _check_counts(trainer: Any) -> Iterator[str]:
    """Each module of experts counts what it is given in a first pass, and nothing else."""
    given: Counter[str] = Counter()
    modules = (named for stage in trainer.stages for named in stage.named_modules())
    owners = {path: module for path, module in modules if TOKEN_COUNTS in module._buffers}

    def add(path: str, _module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        given[path] += 0 if is_in_backward_pass() else arguments[1].numel()

    hooks = [module.register_forward_pre_hook(partial(add, path)) for path, module in owners.items()]
    for counts in trainer.token_counts.values():
        counts.zero_()
    trainer.run_microbatches(0)
    for hook in hooks:
        hook.remove()
    for path, module in owners.items():
        counted = int(module.get_buffer(TOKEN_COUNTS).sum())
        if counted != given[path]:
            yield f"`{path}` counts {counted} rows of a step, and is given {given[path]}"
    for parameter in trainer.parameters:
        parameter.tensor.grad = None
    for counts in trainer.token_counts.values():
        counts.zero_()
