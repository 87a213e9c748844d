"""Every distinct module is captured once, by name, and its graph computes what the module computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from parc.capture.export import export_model
from parc.capture.forward import record_forward
from parc.capture.graph import Body
from parc.capture.model.objective import Objective
from parc.capture.model.signatures import Signatures
from parc.capture.model.tree import find_layers, find_tensor_slots
from parc.capture.preconditions import Illegal

B, L, H, VOCABULARY = 2, 3, 4, 8


class Block(nn.Module):
    """x + what a block makes of it."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.norm = nn.LayerNorm(H)
        self.proj = nn.Linear(H, H)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.proj(self.norm(x))


class Model(nn.Module):
    def __init__(self, block: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, H)
        self.layers = nn.ModuleList(block(number) for number in range(3))
        self.head = nn.Linear(H, VOCABULARY, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.head(x)
        return logits


def capture(block: Callable[[int], nn.Module]) -> Body:
    with torch.device("meta"):
        model = Model(block).double()
    objective = Objective(model, "tokens", None, -100)
    tokens, labels = (torch.empty(B, L, dtype=torch.long, device="meta") for _ in range(2))
    signatures = Signatures({})
    forward = record_forward(objective, find_layers(objective, 3), set(), signatures, tokens, labels)
    return export_model(forward, find_tensor_slots(objective), signatures)


def layers(block: Callable[[int], nn.Module]) -> list[Body]:
    children = capture(block).children
    return [children[f"model.layers.{number}"] for number in range(3)]


def run(body: Body, module: nn.Module, *inputs: Tensor) -> Tensor:
    """The graph of a body without children, on real tensors."""
    given = iter(inputs)
    made: dict[fx.Node, Any] = {}
    for node in body.graph.nodes:
        if "tensor" in node.meta:
            name = node.meta["tensor"]
            made[node] = module.get_buffer(name) if node.meta["buffer"] else module.get_parameter(name)
        elif node.op == "placeholder":
            made[node] = next(given)
        elif node.op == "call_function":
            args, kwargs = fx.map_arg((node.args, node.kwargs), made.__getitem__)
            made[node] = node.target(*args, **kwargs)
    value: Tensor = made[body.results()[0]]
    return value


def test_blocks_that_are_identical_share_one_graph() -> None:
    first, second, third = layers(lambda _: Block())
    assert first is second is third


def test_blocks_that_differ_in_an_attribute_do_not() -> None:
    first, second, third = layers(lambda number: Block(scale=1.0 + (number == 1)))
    assert first is third
    assert first is not second


class Gated(nn.Module):
    def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x)


def test_a_function_that_is_held_is_like_itself_alone() -> None:
    first, second, third = layers(lambda number: Gated(F.silu if number != 1 else torch.tanh))
    assert first is third
    assert first is not second
    scales = [1.0, 2.0, 3.0]
    first, second, _ = layers(lambda number: Gated(lambda x: x * scales[number]))
    assert first is not second


@pytest.mark.parametrize(
    "change",
    [
        lambda block: block.eval(),
        lambda block: block.proj.weight.requires_grad_(False),
        lambda block: block.register_buffer("extra", torch.zeros(1)),
        lambda block: setattr(block, "norm", nn.RMSNorm(H)),
        lambda block: setattr(block.norm, "eps", 1e-6),
        lambda block: setattr(block, "proj", nn.Linear(H, H, bias=False)),
        lambda block: setattr(block, "scale", 1),
        lambda block: setattr(block, "options", {"a": [1, 2]}),
    ],
)
def test_what_may_change_the_arithmetic_makes_modules_differ(change: Callable[[Block], object]) -> None:
    other = Block()
    change(other)
    signatures = Signatures({})
    assert signatures.number(Block()) == signatures.number(Block())
    assert signatures.number(other) != signatures.number(Block())


def test_tensors_that_begin_differently_make_modules_differ() -> None:
    one, other = Block(), Block()
    begins = {id(one.proj.weight): "normal", id(other.proj.weight): "zero"}
    signatures = Signatures(begins)
    assert signatures.number(one) != signatures.number(other)


def test_inputs_and_parameters_have_the_users_names() -> None:
    body = capture(lambda _: Block())
    assert [node.meta["name"] for node in body.inputs()] == ["tokens", "labels"]
    assert {node.meta["tensor"] for node in body.tensors()} == {"model.embed.weight", "model.head.weight"}
    block = body.children["model.layers.0"]
    assert (block.name, block.path, block.doc) == ("Block", "model.layers.0", "x + what a block makes of it.")
    assert [node.meta["name"] for node in block.inputs()] == ["x"]
    names = ["norm.weight", "norm.bias", "proj.weight", "proj.bias"]
    assert [node.meta["tensor"] for node in block.tensors()] == names


class Acts(nn.Module):
    """A block whose forward is given."""

    def __init__(self, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x)


def in_place(x: Tensor) -> Tensor:
    y = x * 2
    y.add_(x)
    y *= 3
    return y - 1


def masked_in_place(x: Tensor) -> Tensor:
    scores = x @ x.transpose(-2, -1)
    scores.masked_fill_(torch.ones_like(scores, dtype=torch.bool).triu(1), float("-inf"))
    return scores.softmax(dim=-1) @ x


def used_before_and_after(x: Tensor) -> Tensor:
    y = x + 1
    before = y * 2
    y.mul_(x)
    return before + y


def without_gradient(x: Tensor) -> Tensor:
    with torch.no_grad():
        scale = x.abs().amax(dim=-1, keepdim=True)
    return x / scale


@pytest.mark.parametrize("act", [in_place, masked_in_place, used_before_and_after])
def test_the_graph_computes_what_the_module_computes(act: Callable[[Tensor], Tensor]) -> None:
    body = layers(lambda _: Acts(act))[0]
    assert not any(node.target._schema.is_mutable for node in body.operations())
    x = torch.randn(B, L, H, dtype=torch.float64)
    assert torch.equal(run(body, Acts(act), x), act(x))  # the same operations in the same order


def changes_a_view(x: Tensor) -> Tensor:
    y = x * 2
    y[..., 0].zero_()
    return y


def changes_what_is_viewed(x: Tensor) -> Tensor:
    y = x * 2
    rows = y.view(B * L, H)
    y.add_(1)
    return rows.view_as(x)


def changes_a_chunk(x: Tensor) -> Tensor:
    order = x.argsort(dim=-1)
    left, _ = order.chunk(2, dim=-1)
    left.zero_()
    return x.gather(-1, order)


def changes_its_input(x: Tensor) -> Tensor:
    x.add_(1)
    return x


@pytest.mark.parametrize(
    "act",
    [
        changes_a_view,
        changes_what_is_viewed,
        changes_a_chunk,
        changes_its_input,
    ],
)
def test_a_change_that_a_view_shows_is_refused(act: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(Illegal, match="changes a tensor in place, of which a view is used as well"):
        layers(lambda _: Acts(act))


def test_a_region_without_gradients_is_not_taken_for_one_with_them() -> None:
    with pytest.raises(Illegal, match="switches gradients off"):
        layers(lambda _: Acts(without_gradient))


class Counting(Block):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return super().forward(x)


def test_a_buffer_that_forward_changes_is_refused_by_name() -> None:
    with pytest.raises(Illegal, match="changes the buffer `seen`"):
        layers(lambda _: Counting())


class Listing(Block):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.tensor([1.0, 2.0, 3.0, 4.0], device=x.device)


def test_a_tensor_of_python_values_is_refused() -> None:
    with pytest.raises(Illegal, match="reads a tensor of Python values"):
        layers(lambda _: Listing())
