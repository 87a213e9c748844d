"""Calls where the passes of a module begin and end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TypeAlias

from torch import Tensor, nn
from torch.autograd import Function, Variable
from torch.autograd.graph import register_multi_grad_hook

from .recompute import is_first_pass

Action: TypeAlias = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class PassActions:
    """What is called around the passes of a module. A forward pass that is recomputed calls nothing.

    `end_backward` is called when the gradients of all its parameters are there. A module that takes tensors
    with gradients ends its backward pass when it knows these. Any other one, such as an embedding, ends with
    the backward pass of the whole stage.
    """

    begin_forward: Action
    end_forward: Action
    begin_backward: Action
    end_backward: Action


def watch_module(module: nn.Module, actions: PassActions) -> None:
    """Of a module that a stage calls once in a pass."""
    module.register_forward_pre_hook(partial(_enter_module, actions))
    module.register_forward_hook(partial(_leave_module, actions))


def watch_stage(stage: nn.Module, actions: PassActions) -> None:
    """Of a stage, whose backward pass begins before and ends after those of its modules."""
    stage.register_forward_pre_hook(partial(_enter_stage, actions))
    stage.register_forward_hook(partial(_leave_stage, actions))


def _enter_module(actions: PassActions, _module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    if is_first_pass():
        actions.begin_forward()
    passed: tuple[Any, ...] = _call_in_backward(actions.end_backward, inputs)
    return passed


def _leave_module(actions: PassActions, _module: nn.Module, inputs: tuple[Any, ...], outputs: Any) -> None:
    if is_first_pass():
        actions.end_forward()
        ends = bool(_list_differentiable(inputs))
        begin = actions.begin_backward if ends else partial(_begin_backward_of_stage, actions)
        register_multi_grad_hook(_list_differentiable(outputs), lambda _: begin(), mode="any")


def _enter_stage(actions: PassActions, _stage: nn.Module, _inputs: tuple[Any, ...]) -> None:
    actions.begin_forward()


def _leave_stage(actions: PassActions, _stage: nn.Module, _inputs: tuple[Any, ...], outputs: Any) -> Any:
    actions.end_forward()
    return _call_in_backward(partial(_begin_backward_of_stage, actions), outputs)


def _begin_backward_of_stage(actions: PassActions) -> None:
    """Begins a backward pass that ends when autograd has computed all gradients."""
    actions.begin_backward()
    Variable._execution_engine.queue_callback(actions.end_backward)  # noqa: SLF001 - as in torch's FSDP


def _list_differentiable(tensors: Any) -> list[Tensor]:
    found = tensors if isinstance(tensors, tuple) else (tensors,)
    return [each for each in found if isinstance(each, Tensor) and each.requires_grad]


def _call_in_backward(call: Action, tensors: Any) -> Any:
    """The tensors as they are; `call` is called when the backward pass has computed their gradients."""
    if not (found := _list_differentiable(tensors)):
        return tensors
    passed = dict(zip(map(id, found), _Call.apply(call, *found), strict=True))
    if isinstance(tensors, Tensor):
        return passed[id(tensors)]
    return tuple(passed.get(id(each), each) for each in tensors)


class _Call(Function):
    """Tensors as they are; calls a function when their gradients are known."""

    apply: ClassVar[Callable[..., tuple[Tensor, ...]]]  # which torch leaves untyped

    @staticmethod
    def forward(ctx: Any, call: Action, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.call = call
        return tuple(each.view_as(each) for each in tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        ctx.call()
        return (None, *gradients)
