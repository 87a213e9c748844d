"""AdamW with moments of another type: computed in the wider type, rounded at the end."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from parc.runtime import rounded_adamw
from parc.runtime.rounded_adamw import RoundedAdamW

SETTINGS = {"lr": 0.01, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}
SHAPES = ((3, 5), (7,), (), (2, 2, 2))
TYPES = [
    (torch.float32, torch.bfloat16),
    (torch.float64, torch.float32),
    (torch.bfloat16, torch.float32),
    (torch.float32, torch.float64),
]


def draw(seed: int, dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator).to(dtype) for shape in SHAPES]


def build(masters: list[Tensor], moments: torch.dtype) -> RoundedAdamW:
    return RoundedAdamW(masters, moments=moments, fused=True, **SETTINGS)


@pytest.mark.parametrize(("master", "moments"), TYPES)
@pytest.mark.parametrize("chunk", [16, 1 << 24])
def test_a_step_is_one_of_torch_in_the_wider_type_and_then_rounded(
    master: torch.dtype, moments: torch.dtype, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounded_adamw, "CHUNK", chunk)
    wide = torch.promote_types(master, moments)
    masters, plain = draw(0, master), [each.to(wide) for each in draw(0, master)]
    rounded, reference = build(masters, moments), torch.optim.AdamW(plain, fused=True, **SETTINGS)
    for step in range(1, 5):
        for one, other, gradient in zip(masters, plain, draw(step, wide), strict=True):
            one.grad, other.grad = gradient, gradient.clone()
        rounded.step()
        reference.step()
        for one, other in zip(masters, plain, strict=True):
            other.copy_(other.to(master))
            state, expected = rounded.state[one], reference.state[other]
            assert state["step"] == step
            assert one.dtype == master
            assert torch.equal(one.to(wide), other)
            for key in ("exp_avg", "exp_avg_sq"):
                expected[key].copy_(expected[key].to(moments))
                assert state[key].dtype == moments
                assert torch.equal(state[key].to(wide), expected[key])


def test_a_large_parameter_is_updated_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop over few elements may round otherwise in its last bit: so much may the results differ."""
    monkeypatch.setattr(rounded_adamw, "CHUNK", 16)
    (cut,), (whole,) = ([torch.linspace(-1, 1, 90).view(9, 10)] for _ in range(2))
    optimizer, reference = build([cut], torch.bfloat16), torch.optim.AdamW([whole], **SETTINGS)
    for step in range(1, 4):
        cut.grad = torch.linspace(0.5, step, 90).view(10, 9).t()  # in another layout than the parameter
        whole.grad = cut.grad.clone()
        optimizer.step()
        reference.step()
        for key in ("exp_avg", "exp_avg_sq"):
            reference.state[whole][key].copy_(reference.state[whole][key].bfloat16())
            expected = reference.state[whole][key].bfloat16()
            torch.testing.assert_close(optimizer.state[cut][key], expected, rtol=2**-7, atol=0)
        torch.testing.assert_close(cut, whole, rtol=1e-4, atol=1e-4)
    assert optimizer.state[cut]["step"] == 3


def test_what_has_no_gradient_stays_as_it_is() -> None:
    masters = draw(0, torch.float32)
    before = [each.clone() for each in masters]
    optimizer = build(masters, torch.bfloat16)
    optimizer.step()
    assert not optimizer.state
    masters[1].grad = torch.ones(7)
    optimizer.step()
    assert [torch.equal(*pair) for pair in zip(masters, before, strict=True)] == [True, False, True, True]
    assert list(optimizer.state) == [masters[1]]
