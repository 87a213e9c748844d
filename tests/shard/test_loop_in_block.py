"""A loop over experts in the `forward` of a block is told apart from the rest, or refused with its line."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parc.capture.calls import Call, to_specs
from parc.capture.inline.split import Inseparable, Split, find_split
from parc.capture.inline.trace import run_loop
from parc.capture.source_lines import find_lines

H, EXPERTS, CHOICES = 6, 4, 2


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(H, EXPERTS)
        self.norm = nn.LayerNorm(H)
        self.experts = nn.ModuleList(nn.Linear(H, H) for _ in range(EXPERTS))

    def choose(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        weights, indices = self.gate(tokens).softmax(-1).topk(CHOICES)
        return weights / weights.sum(-1, keepdim=True), indices


def meta_tokens() -> Tensor:
    return torch.empty(3, 4, H, dtype=torch.float64, device="meta")


def split(kind: type[Block]) -> Split:
    with torch.device("meta"):
        block = kind().double()
    return find_split(block, block.experts, block.forward, (meta_tokens(),), {})


def refusal(kind: type[Block]) -> tuple[str, str]:
    """The reason, and the line of the user's that it is about."""
    with pytest.raises(Inseparable) as refused:
        split(kind)
    line = find_lines(refused.value.node)[-1]
    return refused.value.reason, line.file.read_text().splitlines()[line.number - 1].strip()


class Plain(Block):
    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, 1)
        weights, indices = self.choose(tokens)
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            row, choice = torch.where(indices == number)
            out.index_add_(0, row, expert(tokens[row]) * weights[row, choice, None])
        return out.view_as(x)


class OfAll(Block):
    """The weights of all experts are read, by the numbers of the chosen."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, 1)
        scores = self.gate(tokens).softmax(-1)
        best = scores.argmax(-1)
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            mask = best == number
            out[mask] = expert(tokens[mask]) * scores[mask, number, None]
        return out.view_as(x)


class InTheOrderOfExperts(Block):
    """What the experts make lies in another order, until it is put back."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, 1)
        weights, best = self.gate(tokens).softmax(-1).max(-1)
        order = best.argsort(stable=True)
        parts = tokens[order].split(best.bincount(minlength=EXPERTS).tolist())
        made = torch.cat([expert(part) for expert, part in zip(self.experts, parts, strict=True)])
        return (made * weights[order, None])[order.argsort()].view_as(x)


class SharedAmong(Plain):
    """A shared part is added, after the loop and before its sum is used."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, 1)
        weights, indices = self.choose(tokens)
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            row, choice = torch.where(indices == number)
            out = out.index_add(0, row, expert(tokens[row]) * weights[row, choice, None])
        shared = self.norm(tokens)
        return (shared + out).view_as(x)


def test_the_sum_of_a_loop_is_what_the_rest_of_the_block_reads() -> None:
    found = split(Plain)
    assert (found.rows, found.choices, found.dense) == (12, CHOICES, False)
    assert found.tokens.call == 1
    assert found.first < found.last
    assert found.used is not None


@pytest.mark.parametrize("kind", [Plain, OfAll, InTheOrderOfExperts, SharedAmong])
def test_a_loop_runs_with_choices_that_are_given(kind: type[Block]) -> None:
    with torch.device("meta"):
        block = kind().double()
    found = find_split(block, block.experts, block.forward, (meta_tokens(),), {})
    block.experts = nn.ModuleList(nn.Linear(H, H) for _ in range(EXPERTS)).double()
    call = Call(block, *to_specs(((meta_tokens(),), {})), *to_specs(meta_tokens()))
    tokens = torch.randn(5, H, dtype=torch.float64)
    indices = torch.tensor([[0, 3], [3, 1], [1, 0], [0, 1], [3, 0]])[:, : found.choices]
    weights = torch.rand(indices.shape, dtype=torch.float64)
    with torch.no_grad():
        sums = run_loop(block, block.experts, call, found, tokens, indices, weights)
        made = torch.stack([expert(tokens) for expert in block.experts], dim=1)
        expected = (made[torch.arange(5)[:, None], indices] * weights[..., None]).sum(1)
    torch.testing.assert_close(sums, expected)


def test_weights_of_all_experts_are_known_by_their_shape() -> None:
    found = split(OfAll)
    assert (found.choices, found.dense) == (1, True)


def test_code_after_the_loop_is_not_part_of_it() -> None:
    assert split(SharedAmong).last == split(Plain).last


class TwoInputs(Block):
    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, 1)
        weights, indices = self.choose(tokens)
        doubled = tokens * 2 + self.norm(tokens)
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            row, choice = torch.where(indices == number)
            made = expert(tokens[row]) + doubled[row]
            out.index_add_(0, row, made * weights[row, choice, None])
        return out.view_as(x)


class ChosenByExperts(Block):
    """Every expert chooses tokens."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, 1)
        scores = self.gate(tokens).softmax(-1)
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            weight, row = scores[:, number].topk(3)
            out.index_add_(0, row, expert(tokens[row]) * weight[:, None])
        return out.view_as(x)


class NormAmong(Block):
    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, 1)
        weights, indices = self.choose(tokens)
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            row, choice = torch.where(indices == number)
            rows = self.norm(tokens[row])
            out.index_add_(0, row, expert(rows) * weights[row, choice, None])
        return out.view_as(x)


class TwoResults(Block):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        tokens = x.flatten(0, 1)
        weights, indices = self.choose(tokens)
        out, size = torch.zeros_like(tokens), torch.zeros((), device=x.device)
        for number, expert in enumerate(self.experts):
            row, choice = torch.where(indices == number)
            made = expert(tokens[row])
            size = size + made.square().sum()
            out.index_add_(0, row, made * weights[row, choice, None])
        return out.view_as(x), size


class ViewAmong(Block):
    """A view of the tokens is made in the loop, and read after it."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        weights, indices = self.choose(x.flatten(0, 1))
        out = torch.zeros_like(x.flatten(0, 1))
        for number, expert in enumerate(self.experts):
            row, choice = torch.where(indices == number)
            tokens = x.flatten(0, 1)
            out.index_add_(0, row, expert(tokens[row]) * weights[row, choice, None])
        return out.view_as(x), tokens.square().mean()


class AboveThreshold(Block):
    """Experts with little weight are left out."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, 1)
        weights, indices = self.choose(tokens)
        spread = torch.zeros_like(self.gate(tokens)).scatter(1, indices, weights)
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            (row,) = torch.where(spread[:, number] > 0.01)
            out.index_add_(0, row, expert(tokens[row]) * spread[row, number, None])
        return out.view_as(x)


class Unweighted(Block):
    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, 1)
        _, indices = self.choose(tokens)
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            row, _ = torch.where(indices == number)
            out.index_add_(0, row, expert(tokens[row]))
        return out.view_as(x)


class Uncalled(Block):
    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, 1)
        weights, indices = self.choose(tokens)
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            row, choice = torch.where(indices == number)
            made = F.linear(tokens[row], expert.weight, expert.bias)
            out.index_add_(0, row, made * weights[row, choice, None])
        return out.view_as(x)


class HalvedWhereCrowded(Block):
    """What is done with the sum depends on how many tokens an expert has."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, 1)
        weights, indices = self.choose(tokens)
        out = torch.zeros_like(tokens)
        most = 0
        for number, expert in enumerate(self.experts):
            row, choice = torch.where(indices == number)
            most = max(most, len(row))
            out = out.index_add(0, row, expert(tokens[row]) * weights[row, choice, None])
        if most > 8:
            out = out / 2
        return out.view_as(x)


class DividedByCount(Block):
    """What is done with the sum is computed from how many tokens an expert has."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, 1)
        weights, indices = self.choose(tokens)
        counts = indices.flatten().bincount(minlength=EXPERTS).tolist()
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            if counts[number]:
                row, choice = torch.where(indices == number)
                out = out.index_add(0, row, expert(tokens[row]) * weights[row, choice, None])
        return out.view_as(x) / max(counts)


class ByValue(Block):
    """The block asks for a value that has nothing to do with the experts."""

    def forward(self, x: Tensor) -> Tensor:
        if (x > 0).any():
            x = x * 2
        return self.experts[0](x)


@pytest.mark.parametrize(
    ("kind", "reason", "line"),
    [
        (TwoInputs, "2 tensors of tokens and 1 of weights", "row, choice = torch.where"),
        (ChosenByExperts, "not those of one tensor of numbers", "out.index_add_"),
        (NormAmong, "a module with parameters", "rows = self.norm(tokens[row])"),
        (TwoResults, "more of it than one tensor", "out.index_add_"),
        (ViewAmong, "more of it than one tensor", "out.index_add_"),
        (AboveThreshold, "not those of one tensor of numbers", "(row,) = torch.where"),
        (Unweighted, "1 tensors of tokens and 0 of weights", "row, _ = torch.where"),
        (Uncalled, "calls none of its experts", "row, choice = torch.where"),
        (HalvedWhereCrowded, "depends on values that are read before", "out = out.index_add"),
        (DividedByCount, "depends on values that are read before", "return out.view_as(x) / max(counts)"),
        (ByValue, "not those of one tensor of numbers", "if (x > 0).any()"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(kind: type[Block], reason: str, line: str) -> None:
    found = refusal(kind)
    assert reason in found[0]
    assert found[1].startswith(line)
