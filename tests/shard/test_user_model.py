"""What is done to a user's module before it is captured, and what is found on it."""

from __future__ import annotations

import torch
from torch import nn

from parc.capture.hidden_code import find_hooks
from parc.capture.model.user_model import cast_model


class Rotary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.register_buffer("turns", torch.polar(torch.ones(3), torch.arange(3.0)))
        self.register_buffer("places", torch.arange(3))


def test_a_cast_keeps_complex_numbers_and_integers() -> None:
    for dtype, complex_dtype in (
        (torch.float64, torch.complex128),
        (torch.bfloat16, torch.complex64),
    ):
        model, turns = Rotary(), Rotary().turns
        cast_model(model, dtype)
        assert (model.weight.dtype, model.places.dtype) == (dtype, torch.int64)
        assert model.turns.dtype == complex_dtype
        assert torch.equal(model.turns.to(torch.complex64), turns)  # the imaginary part as well


def test_a_hook_on_all_modules_is_found() -> None:
    def double(_module: object, _arguments: object, out: torch.Tensor) -> torch.Tensor:
        return 2 * out

    assert list(find_hooks(nn.Linear(1, 1))) == []
    handle = nn.modules.module.register_module_forward_hook(double)
    try:
        (found,) = find_hooks(nn.Linear(1, 1))
    finally:
        handle.remove()
    assert found.what == "a hook on all modules"
    assert found.line is not None
    assert found.line.number == double.__code__.co_firstlineno
