"""The example models, on one device, without parc."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import classic
import moe
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

VOCAB, LENGTH = 64, 16


class Example(NamedTuple):
    build: Callable[[], nn.Module]
    loss: Callable[[nn.Module, Tensor], Tensor]  # of text (B, LENGTH + 1)
    experts: type[nn.Module]


def build_moe(**changes: int) -> moe.MoETransformer:
    sizes = {"n_layers": 3, "dim": 32, "n_heads": 4, "n_kv_heads": 2, "ffn": 48, "n_experts": 4, "top_k": 2}
    extra = {"n_dense_layers": 1, "shared_ffn": 24, "vocab": VOCAB, "max_length": LENGTH}
    return moe.MoETransformer(**(sizes | extra | changes))


def build_classic() -> classic.SwitchGPT:
    return classic.SwitchGPT(depth=2, width=32, heads=4, inner=64, count=4, symbols=VOCAB, context=LENGTH)


def moe_loss(model: nn.Module, text: Tensor) -> Tensor:
    logits, balance = model(text[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten()) + 0.01 * balance


def classic_loss(model: nn.Module, text: Tensor) -> Tensor:
    return model(text[:, :-1], text[:, 1:])


EXAMPLES = {
    "moe": Example(build_moe, moe_loss, moe.Experts),
    "classic": Example(build_classic, classic_loss, classic.ExpertBank),
}
both = pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES.keys())


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def counting_text(batch: int) -> Tensor:
    """Sequences that count upwards from anywhere: the next token is certain once the last one is known."""
    return (torch.randint(0, VOCAB, (batch, 1)) + torch.arange(LENGTH + 1)) % VOCAB


@both
def test_it_learns(example: Example) -> None:
    model = example.build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = example.loss(model, counting_text(16))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    # A model that knows nothing pays log 64 = 4.2 nats a token; one that has learned to count, almost none.
    assert losses[0] > 3.9
    assert losses[-1] < 1.0


@both
def test_every_parameter_gets_a_gradient(example: Example) -> None:
    model = example.build()
    example.loss(model, counting_text(16)).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle


@both
def test_it_computes_in_the_precision_of_its_weights(example: Example) -> None:
    model = example.build()
    single = example.loss(model, text := counting_text(4))
    double = example.loss(model.double(), text)
    assert single.dtype == torch.float32
    assert double.dtype == torch.float64
    # 23 bits of mantissa: 6e-8 a rounding, over a few hundred of them.
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=0)
    assert single.item() != double.item()


def test_later_tokens_do_not_change_earlier_predictions() -> None:
    model = build_moe()
    text = counting_text(1)[:, :-1]
    changed = text.clone()
    changed[:, 10:] = 0
    torch.testing.assert_close(model(text)[0][:, :10], model(changed)[0][:, :10])


def route(experts: int, top_k: int, tokens: int = 24) -> tuple[Tensor, Tensor, Tensor]:
    """Random tokens (N, 32) and a routing in which the last expert gets none."""
    scores = torch.rand(tokens, experts)
    scores[:, -1] = 0
    weights, indices = scores.topk(top_k)
    return torch.randn(tokens, 32), indices, weights


def test_stacked_experts_are_the_weighted_sum_of_each() -> None:
    model = moe.Experts(4, 32, 48)
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.2)
    tokens, indices, weights = route(4, 2)

    def one(expert: int, x: Tensor) -> Tensor:
        return (F.silu(x @ model.gate[expert].T) * (x @ model.up[expert].T)) @ model.down[expert].T

    expected = torch.stack(
        [
            sum(weight * one(int(expert), x) for expert, weight in zip(chosen, share, strict=True))
            for x, chosen, share in zip(tokens, indices, weights, strict=True)
        ]
    )
    # float32, sums of 48 products in another order.
    torch.testing.assert_close(model(tokens, indices, weights), expected, rtol=1e-5, atol=1e-5)


def test_a_bank_of_experts_is_the_weighted_sum_of_each() -> None:
    bank = classic.ExpertBank(4, 32, 64)
    tokens, indices, weights = route(4, 1)
    expected = torch.stack(
        [
            weight * bank.specialists[int(chosen)](x)
            for x, chosen, weight in zip(tokens, indices[:, 0], weights[:, 0], strict=True)
        ]
    )
    # float32, sums of 64 products in another order.
    torch.testing.assert_close(bank(tokens, indices, weights), expected, rtol=1e-5, atol=1e-5)


def test_the_balance_loss_is_one_when_the_router_is_indifferent() -> None:
    router = moe.Router(32, 4, 2)
    nn.init.zeros_(router.proj.weight)
    assert router(torch.randn(24, 32))[2].item() == pytest.approx(1.0)


def test_the_balance_loss_grows_when_all_tokens_choose_alike() -> None:
    router = moe.Router(32, 4, 2)
    with torch.no_grad():
        router.proj.weight.copy_(torch.tensor([4.0, 2.0, -2.0, -4.0])[:, None].expand(4, 32) / 32)
    # Two of four experts get everything: 4 x (1/2 x nearly 1).
    assert router(torch.ones(24, 32))[2].item() == pytest.approx(2.0, rel=0.01)


@both
def test_it_can_be_exported_on_the_meta_device_once_its_experts_are_opaque(
    example: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        example.experts,
        "forward",
        lambda _self, tokens, _indices, weights: tokens * weights.sum(-1, keepdim=True),
    )
    with torch.device("meta"):
        model = example.build()
        tokens = torch.zeros(2, LENGTH, dtype=torch.long)
    inputs = (tokens,) if example is EXAMPLES["moe"] else (tokens, tokens)
    exported = torch.export.export(model, inputs, strict=False)
    assert set(exported.state_dict) == set(model.state_dict())
