"""What a constructor does on the meta device is recorded, and drawn again it gives the same."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fx, nn

from parc.capture.model.recipes import Recipe, Unrecorded, derive_computation, derive_initial_value
from parc.capture.model.recording import Recording
from parc.runtime.init import draw


def recorded(make: Callable[[], nn.Module]) -> tuple[nn.Module, Recording]:
    recording = Recording()
    with torch.device("meta"), recording.record():
        return make(), recording


def recipe(make: Callable[[], nn.Module], name: str = "weight") -> Recipe:
    module, recording = recorded(make)
    return derive_initial_value(recording, module.get_parameter(name)).recipe


class Own(nn.Module):
    """A module whose weight (6, 4) is made by a function."""

    def __init__(self, make: Callable[[], Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(make())


def filled(fill: Callable[[Tensor], object]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        module = Own(lambda: torch.empty(6, 4))
        fill(module.weight)
        return module

    return make


BOUND = 1 / math.sqrt(4)


@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        (lambda w: nn.init.normal_(w, 0.0, 0.02), (("normal_", 0.0, 0.02),)),
        (lambda w: nn.init.normal_(w, std=0.02), (("normal_", 0.0, 0.02),)),
        (nn.init.zeros_, (("zero_",),)),
        (nn.init.ones_, (("fill_", 1.0),)),
        (lambda w: nn.init.constant_(w, 0.5), (("fill_", 0.5),)),
        (lambda w: nn.init.uniform_(w, -1, 2), (("uniform_", -1.0, 2.0),)),
        (nn.init.xavier_uniform_, (("uniform_", -math.sqrt(0.6), math.sqrt(0.6)),)),
        (lambda w: nn.init.xavier_normal_(w, gain=2.0), (("normal_", 0.0, 2 * math.sqrt(0.2)),)),
        (lambda w: nn.init.kaiming_uniform_(w, a=math.sqrt(5)), (("uniform_", -BOUND, BOUND),)),
        (nn.init.kaiming_normal_, (("normal_", 0.0, math.sqrt(2) / 2),)),
        (lambda w: nn.init.trunc_normal_(w, std=0.02), (("trunc_normal_", 0.0, 0.02, -2.0, 2.0),)),
        (lambda w: nn.init.orthogonal_(w, gain=0.1), (("orthogonal_", 0.1),)),
        (lambda w: w.data.normal_(0, 0.02), (("normal_", 0.0, 0.02),)),
        (lambda w: w.data.normal_(), (("normal_", 0.0, 1.0),)),
        (lambda w: w.data.fill_(3), (("fill_", 3.0),)),
        (lambda w: w.data.copy_(torch.randn(6, 4) * 0.02), (("normal_", 0.0, 1.0), ("mul_", 0.02))),
        (lambda w: w.data.normal_().mul_(0.5).add_(1), (("normal_", 0.0, 1.0), ("mul_", 0.5), ("add_", 1.0))),
        (lambda w: w.data.normal_().div_(4).sub_(1), (("normal_", 0.0, 1.0), ("mul_", 0.25), ("add_", -1.0))),
        (lambda w: w.data.normal_().clamp_(-2, 2), (("normal_", 0.0, 1.0), ("clamp_", -2.0, 2.0))),
        (lambda w: (w.data.uniform_(), w.data.zero_()), (("zero_",),)),
    ],
)
def test_what_fills_a_parameter_is_its_recipe(fill: Callable[[Tensor], object], expected: Recipe) -> None:
    found = recipe(filled(fill))
    assert [call[0] for call in found] == [call[0] for call in expected]
    for call, wanted in zip(found, expected, strict=True):
        assert call[1:] == pytest.approx(wanted[1:])


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: torch.randn(6, 4) * 0.02, (("normal_", 0.0, 1.0), ("mul_", 0.02))),
        (lambda: 0.02 * torch.randn(6, 4), (("normal_", 0.0, 1.0), ("mul_", 0.02))),
        (lambda: torch.randn(6, 4) / 2, (("normal_", 0.0, 1.0), ("mul_", 0.5))),
        (lambda: -torch.rand(6, 4), (("uniform_", 0.0, 1.0), ("mul_", -1.0))),
        (lambda: torch.rand(6, 4) * 2 - 1, (("uniform_", 0.0, 1.0), ("mul_", 2.0), ("add_", -1.0))),
        (lambda: 1 - torch.rand(6, 4), (("uniform_", 0.0, 1.0), ("mul_", -1.0), ("add_", 1.0))),
        (lambda: torch.zeros(6, 4), (("zero_",),)),
        (lambda: torch.ones(6, 4), (("fill_", 1.0),)),
        (lambda: torch.full((6, 4), 0.1), (("fill_", 0.1),)),
        (lambda: torch.normal(0.0, 0.02, (6, 4)), (("normal_", 0.0, 0.02),)),
        (lambda: torch.normal(1.0, 2.0, size=(6, 4)), (("normal_", 1.0, 2.0),)),
    ],
)
def test_what_makes_a_parameter_is_its_recipe(make: Callable[[], Tensor], expected: Recipe) -> None:
    assert recipe(lambda: Own(make)) == expected


def test_torchs_own_layers_begin_as_torch_says() -> None:
    bound = pytest.approx(BOUND)
    assert recipe(lambda: nn.Linear(4, 6)) == (("uniform_", pytest.approx(-BOUND), bound),)
    assert recipe(lambda: nn.Linear(4, 6), "bias") == (("uniform_", pytest.approx(-BOUND), bound),)
    assert recipe(lambda: nn.Embedding(6, 4)) == (("normal_", 0.0, 1.0),)
    assert recipe(lambda: nn.LayerNorm(4)) == (("fill_", 1.0),)
    assert recipe(lambda: nn.LayerNorm(4), "bias") == (("zero_",),)
    assert recipe(lambda: nn.RMSNorm(4)) == (("fill_", 1.0),)


@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers_of_one_kind_are_as_if_each_had_been_constructed(bias: bool) -> None:
    def make() -> nn.Module:
        first = nn.Linear(16, 4, bias)
        first.weight.data.zero_()
        first.name = "first"  # type: ignore[assignment]
        return nn.ModuleList([first, nn.Linear(16, 4, bias), nn.Linear(16, 4, bias), nn.Linear(16, 8, bias)])

    module, recording = recorded(make)
    first, second, third, other = module.children()
    assert vars(second).keys() == vars(nn.Linear(16, 4, bias)).keys()
    assert [str(each) for each in (second, other)] == [
        f"Linear(in_features=16, out_features={size}, bias={bias})" for size in (4, 8)
    ]
    for own, of_second in vars(second).items():
        assert vars(third)[own] is not of_second or not isinstance(of_second, dict | set)
    tensors = list(module.parameters())
    assert len({id(each) for each in tensors}) == len(tensors) == (8 if bias else 4)
    assert all(each.is_meta and each.requires_grad for each in tensors)
    drawn = [derive_initial_value(recording, each.get_parameter("weight")) for each in (second, third)]
    assert drawn[0].recipe == drawn[1].recipe
    ((call, low, high),) = drawn[0].recipe
    assert (call, low, high) == ("uniform_", pytest.approx(-0.25), pytest.approx(0.25))
    assert drawn[0].draw != drawn[1].draw
    assert derive_initial_value(recording, first.get_parameter("weight")).recipe[-1] == ("zero_",)


def test_a_linear_layer_follows_the_default_type_of_its_time() -> None:
    def make() -> nn.Module:
        first = nn.Linear(3, 3)
        torch.set_default_dtype(torch.float64)
        try:
            return nn.ModuleList([first, nn.Linear(3, 3)])
        finally:
            torch.set_default_dtype(torch.float32)

    module, _ = recorded(make)
    assert [each.dtype for each in module.parameters()] == [torch.float32] * 2 + [torch.float64] * 2


@pytest.mark.parametrize(("index", "row"), [(0, 0), (2, 2), (-1, 5)])
def test_a_row_for_padding_is_zero(index: int, row: int) -> None:
    found = recipe(lambda: nn.Embedding(6, 4, padding_idx=index))
    assert found == (("normal_", 0.0, 1.0), ("row_zero", row))
    value = draw(1, "weight", (6, 4), torch.float64, found)
    assert [bool(r.any()) for r in value] == [number != row for number in range(6)]


def test_a_column_of_zeros_is_not_taken_for_a_row_of_them() -> None:
    def make() -> nn.Module:
        layer = nn.Linear(4, 4)
        layer.weight.data[:, 0].zero_()
        return layer

    with pytest.raises(Unrecorded, match="in part"):
        recipe(make)


def test_the_last_word_counts() -> None:
    def make() -> nn.Module:
        layer = nn.Linear(4, 6)
        nn.init.normal_(layer.weight, std=0.01)
        return layer

    assert recipe(make) == (("normal_", 0.0, 0.01),)


def test_a_parameter_keeps_its_recipe_when_it_is_moved_into_another_module() -> None:
    def make() -> nn.Module:
        module = nn.Module()
        module.first = nn.Embedding(6, 4)
        module.second = nn.Linear(4, 6, bias=False)
        module.second.weight = module.first.weight
        return module

    assert recipe(make, "second.weight") == (("normal_", 0.0, 1.0),)


def test_recipes_draw_what_the_constructor_draws() -> None:
    """Not the same numbers: the same spread, of 40,000 numbers, within five standard errors."""
    for make, std in (
        (lambda: Own(lambda: torch.randn(200, 200) * 0.02), 0.02),
        (lambda: nn.Linear(200, 200), 1 / math.sqrt(3 * 200)),
        (lambda: nn.Embedding(200, 200), 1.0),
    ):
        value = draw(1, "weight", (200, 200), torch.float32, recipe(make))
        assert value.std().item() == pytest.approx(std, rel=5 / math.sqrt(2 * 40_000))
        assert abs(value.mean().item()) < 5 * std / 200


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Own(lambda: torch.empty(6, 4)), "not set by an operation"),
        (lambda: Own(lambda: torch.randn(6, 4) @ torch.randn(4, 4)), "`mm`"),
        (lambda: Own(lambda: torch.randn(6, 4) * torch.randn(6, 4)), "another tensor"),
        (lambda: Own(lambda: torch.randn(6, 4).cumsum(0)), "`cumsum`"),
        (lambda: Own(lambda: torch.eye(6, 4)), "`eye`"),
        (filled(lambda w: w.data[:3].normal_()), "in part"),
        (filled(lambda w: (w.data.normal_(), w.data[:, 0].zero_())), "in part"),
        (filled(lambda w: (w.data.normal_(), w.data[0].fill_(1.0))), "in part"),
        (filled(lambda w: (w.data.normal_(), w.data[0].mul_(2.0))), "cannot be drawn|in part"),
        (filled(lambda w: (w.data.normal_(), w.data[0].copy_(torch.ones(4)))), "in part|cannot be drawn"),
        (filled(lambda w: w.data.copy_(torch.randn(4))), "`copy_`"),
        (lambda: Own(lambda: torch.add(torch.randn(6, 4), 1, alpha=2)), "`add`"),
        (filled(lambda w: nn.init.sparse_(w, 0.5)), "."),
        (filled(lambda w: nn.init.dirac_(w.view(6, 2, 2))), "."),
    ],
)
def test_what_cannot_be_drawn_share_by_share_is_refused_in_words(
    make: Callable[[], nn.Module], why: str
) -> None:
    with pytest.raises(Unrecorded, match=why):
        recipe(make)


def computed(graph: fx.Graph) -> Tensor:
    """What the recorded computation gives on a real device."""
    for node in graph.nodes:
        if "device" in node.kwargs:
            node.kwargs = {**node.kwargs, "device": torch.device("cpu")}
    (value,) = fx.GraphModule(nn.Module(), graph)()
    assert isinstance(value, Tensor)
    return value


class Buffers(nn.Module):
    """Buffers of the kinds that models have."""

    def __init__(self) -> None:
        super().__init__()
        half = torch.arange(0, 8, 2, dtype=torch.float32) / 8
        angles = torch.outer(torch.arange(6, dtype=torch.float32), 10_000.0**-half)
        self.register_buffer("cos", torch.cat([angles, angles], dim=-1).cos(), persistent=False)
        self.register_buffer("sin", angles.sin())
        self.register_buffer("mask", torch.ones(6, 6, dtype=torch.bool).tril())
        self.register_buffer("bias", torch.zeros(5))
        table = torch.zeros(6, 4)
        table[:, 0::2] = angles[:, :2].sin()
        table[:, 1::2] = angles[:, :2].cos()
        self.register_buffer("table", table)
        filled = torch.empty(3, 3)
        filled.fill_(float("-inf")).triu_(1)
        self.register_buffer("causal", filled)


@pytest.mark.parametrize("name", ["cos", "sin", "mask", "bias", "table", "causal"])
def test_a_buffer_is_computed_again(name: str) -> None:
    module, recording = recorded(Buffers)
    assert module.get_buffer(name).is_meta
    assert torch.equal(
        computed(derive_computation(recording, module.get_buffer(name))), Buffers().get_buffer(name)
    )


def test_a_random_buffer_is_refused() -> None:
    class Noise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("noise", torch.randn(4))

    module, recording = recorded(Noise)
    with pytest.raises(Unrecorded, match="random"):
        derive_computation(recording, module.get_buffer("noise"))


def test_empty_tensors_are_made_on_the_device_that_is_asked_for() -> None:
    """Those of the recorded device take a shorter way than all others."""
    with torch.device("meta"), Recording().record():
        assert torch.empty(2, 3, dtype=torch.float64).dtype == torch.float64
        assert torch.empty((2, 3), device=None).shape == (2, 3)
        assert torch.empty(2).is_meta
        assert torch.empty(2, device="cpu").device.type == "cpu"
        with torch.device("cpu"):
            assert torch.empty(2).device.type == "cpu"
    assert torch.empty(2).device.type == "cpu"
