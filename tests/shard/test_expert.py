"""One expert is captured from modules written in many styles, and nothing of what they compute is lost."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from parc.capture.calls import ExpertsCall
from parc.capture.experts.bank import find_bank
from parc.capture.experts.capture import capture_expert
from parc.capture.experts.trace import UnsupportedExperts
from parc.capture.graph import Body, get_name
from parc.capture.model.signatures import Signatures
from parc.capture.source_lines import find_lines
from parc.runtime import grouped
from parc.runtime.experts import combine, dispatch
from tests.shard.expert_styles import (
    EXPERTS,
    INNER,
    STYLES,
    H,
    Listed,
    Masked,
    Mlp,
    Packed,
    Sorted,
    parameter,
)

CHOICES = 2
# Relative to the largest entry: sums of some hundred terms, in another order.
ROUNDING = {torch.float64: 1e-13, torch.float32: 1e-5}


def dtype_of(style: type[nn.Module]) -> torch.dtype:
    return torch.float32 if issubclass(style, Sorted) else torch.float64  # a grouped product has no float64


def capture(style: Callable[[], nn.Module], dtype: torch.dtype = torch.float64) -> Body:
    with torch.device("meta"):
        module = style().to(dtype)
    bank = find_bank(module)
    assert bank is not None
    width = 8 if isinstance(module, Sorted) else H
    return capture_expert(
        module, bank, ExpertsCall(torch.Size((24, width)), (0, 1, 2)), "layers.0.experts", Signatures({})
    )


def refusal(style: Callable[[], nn.Module]) -> UnsupportedExperts:
    with pytest.raises(UnsupportedExperts) as refused:
        capture(style)
    return refused.value


def source_line(fault: UnsupportedExperts) -> str:
    """The line of the user's that the fault points to."""
    assert fault.node is not None
    line = find_lines(fault.node)[-1]
    return line.file.read_text().splitlines()[line.number - 1].strip()


def operations(body: Body) -> list[str]:
    return [get_name(node).split("::")[-1] for node in body.operations() if get_name(node) != "getitem"]


def dispatched(body: Body, module: nn.Module, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    """What an emitted program computes on one rank: rows sorted by expert, through the graph, and back."""
    rows, counts, route = dispatch(tokens, indices, EXPERTS)
    made: dict[fx.Node, Any] = {}
    for node in body.graph.nodes:
        if "tensor" in node.meta:
            made[node] = stacked(module, node.meta["tensor"])
        elif node.op == "placeholder":
            made[node] = rows
        elif node.op == "call_function":
            args, kwargs = fx.map_arg((node.args, node.kwargs), made.__getitem__)
            ours = get_name(node).startswith("parc::")
            function = getattr(grouped, get_name(node).removeprefix("parc::")) if ours else node.target
            made[node] = function(*args, *([counts] if ours else []), **kwargs)
    return combine(made[body.results()[0]], weights, route)


def stacked(module: nn.Module, name: str) -> Tensor:
    parameters = dict(module.named_parameters())
    if name in parameters:
        return parameters[name]
    first, _, rest = name.partition(".")
    return torch.stack([parameters[f"{first}.{expert}.{rest}"] for expert in range(EXPERTS)])


@pytest.mark.parametrize("style", STYLES)
def test_rows_sorted_by_expert_give_what_the_module_gives(style: type[nn.Module]) -> None:
    dtype = dtype_of(style)
    body = capture(style, dtype)
    torch.manual_seed(0)
    module = style().to(dtype)
    for each in module.parameters():
        nn.init.normal_(each, std=0.5)
    tokens = torch.randn(12, 8 if style.__name__.startswith("Sorted") else H, dtype=dtype)
    scores = torch.rand(12, EXPERTS, dtype=dtype)
    scores[:, 3] = 0  # nobody chooses it
    weights, indices = scores.topk(CHOICES)
    with torch.no_grad():
        expected = module(tokens, indices, weights)
        found = dispatched(body, module, tokens, indices, weights)
    assert (found - expected).abs().max() <= ROUNDING[dtype] * expected.abs().max()


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        (
            Listed,
            "grouped_linear silu grouped_linear grouped_add mul grouped_linear grouped_add",
        ),
        (Packed, "grouped_linear split silu mul grouped_linear"),
        (Sorted, "grouped_linear silu grouped_linear"),
    ],
)
def test_of_the_routing_nothing_is_left(style: type[nn.Module], expected: str) -> None:
    assert operations(capture(style, dtype_of(style))) == expected.split()


def test_parameters_of_a_list_are_stacked_under_its_name() -> None:
    shapes = {node.meta["tensor"]: tuple(node.meta["val"].shape) for node in capture(Listed).tensors()}
    assert shapes == {
        "experts.gate.weight": (EXPERTS, INNER, H),
        "experts.up.weight": (EXPERTS, INNER, H),
        "experts.up.bias": (EXPERTS, INNER),
        "experts.down.weight": (EXPERTS, H, INNER),
        "experts.down.bias": (EXPERTS, H),
    }


class WeightedBefore(Listed):
    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            token, choice = torch.where(indices == number)
            weighted = tokens[token] * weights[token, choice, None]
            out.index_add_(0, token, expert(weighted))
        return out


def test_weights_that_pass_through_a_nonlinearity_are_refused_where_they_are_applied() -> None:
    fault = refusal(WeightedBefore)
    assert "not the weighted sum" in fault.reason
    assert source_line(fault) == "weighted = tokens[token] * weights[token, choice, None]"


class FirstChoiceOnly(Listed):
    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        return super().forward(tokens, indices[:, :1], weights[:, :1])


def test_a_choice_that_is_left_out_is_found() -> None:
    assert "not the weighted sum" in refusal(FirstChoiceOnly).reason


class NormalisedInside(Listed):
    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        return super().forward(tokens, indices, weights / weights.sum(dim=-1, keepdim=True))


def test_weights_that_the_module_changes_are_found() -> None:
    assert "not the weighted sum" in refusal(NormalisedInside).reason


class AcrossRows(Packed):
    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        out = torch.zeros_like(tokens)
        for number in range(EXPERTS):
            token, choice = torch.where(indices == number)
            rows = F.linear(tokens[token], self.gate_up[number])[:, :INNER].softmax(dim=0)
            rows = F.linear(rows, self.down[number])
            out.index_add_(0, token, rows * weights[token, choice].unsqueeze(-1))
        return out


def test_experts_that_mix_their_rows_are_refused() -> None:
    fault = refusal(AcrossRows)
    assert "not the weighted sum" in fault.reason or "row-wise" in fault.reason


class MiddleDiffers(Masked):
    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(Mlp(scale=2.0 if number == 1 else 1.0) for number in range(EXPERTS))


def test_experts_that_are_not_alike_are_refused_by_number() -> None:
    assert refusal(MiddleDiffers).reason == "its expert 1 is not like its expert 0"


class LastDiffers(Packed):
    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        out = torch.zeros_like(tokens)
        for number in range(EXPERTS):
            token, choice = torch.where(indices == number)
            halves = F.linear(tokens[token], self.gate_up[number]).chunk(2, dim=-1)
            activate = F.silu if number < EXPERTS - 1 else F.gelu
            rows = F.linear(activate(halves[0]) * halves[1], self.down[number])
            out.index_add_(0, token, rows * weights[token, choice].unsqueeze(-1))
        return out


def test_stacked_experts_that_compute_different_things_are_refused() -> None:
    assert refusal(LastDiffers).reason == "its expert 4 and its expert 0 compute different things"


class ThirdIsSpecial(nn.Module):
    """Eight experts that are alike, in a loop that treats the one at 3 in its own way."""

    def __init__(self, treat: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.experts = nn.ModuleList(Mlp() for _ in range(8))
        self.treat = treat

    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            token, choice = torch.where(indices == number)
            x = tokens[token]
            if number == 3:
                x = self.treat(x)
            out.index_add_(0, token, expert(x) * weights[token, choice, None])
        return out


@pytest.mark.parametrize(
    ("treat", "reason"),
    [
        (lambda x: x * 2, "its expert 3 and its expert 0 compute different things"),
        # what no number would show
        (lambda x: x.clamp(max=1e6), "its expert 3 and its expert 0 compute different things"),
        (torch.zeros_like, "`aten::mm` mixes parameters with what does not depend on tokens"),
    ],
)
def test_an_expert_that_is_treated_in_its_own_way_is_refused(
    treat: Callable[[Tensor], Tensor], reason: str
) -> None:
    assert refusal(lambda: ThirdIsSpecial(treat)).reason == reason


def test_an_expert_that_is_left_out_is_refused() -> None:
    class Skipping(Listed):
        def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
            out = torch.zeros_like(tokens)
            for number, expert in enumerate(self.experts):
                if number != 3:
                    token, choice = torch.where(indices == number)
                    out.index_add_(0, token, expert(tokens[token]) * weights[token, choice, None])
            return out

    assert refusal(Skipping).reason == "the result of its expert 3 does not depend on its tokens"


class Counted(Listed):
    """Counts how often it runs, and its experts."""

    runs = 0

    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        Counted.runs += 1
        return super().forward(tokens, indices, weights)


def test_all_experts_are_traced_in_one_run_of_few_rows_and_one_of_many() -> None:
    Counted.runs = 0
    capture(Counted)
    assert Counted.runs == 3  # the others have many rows, and compare numbers


class OneForAll(Masked):
    def __init__(self) -> None:
        super().__init__()
        one = Mlp()
        self.experts = nn.ModuleList(one for _ in range(EXPERTS))


def test_one_module_under_many_numbers_is_refused() -> None:
    assert refusal(OneForAll).reason == "several of its experts are one module"


class Neighbour(Packed):
    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        out = torch.zeros_like(tokens)
        for number in range(EXPERTS):
            token, choice = torch.where(indices == number)
            halves = F.linear(tokens[token], self.gate_up[number - 1]).chunk(2, dim=-1)
            rows = F.linear(halves[0], self.down[number])
            out.index_add_(0, token, rows * weights[token, choice].unsqueeze(-1))
        return out


def test_an_expert_that_reads_anothers_weights_is_refused_at_the_line_that_does() -> None:
    fault = refusal(Neighbour)
    assert "weights for a token of expert 0" in fault.reason
    assert "self.gate_up[number - 1]" in source_line(fault)


class Shifted(Packed):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(H))

    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        return super().forward(tokens + self.shift, indices, weights)


def test_a_buffer_is_not_taken_for_the_zeros_that_it_may_hold() -> None:
    fault = refusal(Shifted)
    assert fault.reason == "it reads its buffer `shift`"
    assert "tokens + self.shift" in source_line(fault)


class AllAtOnce(Packed):
    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        every = torch.einsum("nh,eih->nei", tokens, self.gate_up)
        made = torch.einsum("nei,ehi->neh", F.silu(every[..., :INNER]), self.down)
        chosen = F.one_hot(indices, EXPERTS).to(weights.dtype) * weights.unsqueeze(-1)
        return torch.einsum("neh,ne->nh", made, chosen.sum(dim=1))


def test_a_module_that_runs_every_expert_on_every_token_is_refused() -> None:
    assert source_line(refusal(AllAtOnce)) == 'every = torch.einsum("nh,eih->nei", tokens, self.gate_up)'


class FixedChoices(Packed):
    def forward(self, tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        return super().forward(tokens, indices.view(-1, 2), weights.view(-1, 2))


def test_a_module_that_insists_on_its_number_of_choices_is_refused() -> None:
    assert refusal(FixedChoices).reason


def test_tokens_must_be_flat() -> None:
    with torch.device("meta"):
        module = Listed()
    bank = find_bank(module)
    assert bank is not None
    with pytest.raises(UnsupportedExperts, match="flatten them"):
        capture_expert(module, bank, ExpertsCall(torch.Size((2, 3, H)), (0, 1, 2)), "experts", Signatures({}))


class Huge(Packed):
    """Stacked tensors of 4.8 GB: only what is run may become real."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.gate_first = True
        self.gate_up = parameter(64, 2 * INNER, 2**20)
        self.down = parameter(64, 2**20, INNER)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="says how much memory is in use")
def test_memory_is_that_of_a_few_experts() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    with torch.device("meta"):
        module = Huge()
    bank = find_bank(module)
    assert bank is not None
    before = resident()
    capture_expert(module, bank, ExpertsCall(torch.Size((24, 2**20)), (0, 1, 2)), "experts", Signatures({}))
    assert resident() - before < 1e9
